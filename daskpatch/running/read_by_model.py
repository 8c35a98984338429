"""What a model, or a function, reads from: that is not what is written."""

from __future__ import annotations

from ..deciding import Identity
from ..image import places_of
from ..model import load
from ..output import Target
from ..support import MappedFiles


def check_not_read(identity: Identity, target: Target) -> None:
    """Refuse to delete, or to write into, an array that a model holds.

    Raises
    ------
    ValueError
        If it holds one, a group or a store there, or a file of it.
    """
    if target.array is None and not target.overwrite:
        return
    replaced = "replaced" if target.array is None else "written into"
    mapped = MappedFiles()
    for name, code in identity.codes.items():
        places = [place for held in load(code.shared).held for place in places_of(held, mapped)]
        for root in target.roots:
            found = next(filter(root.contains, places), None)
            if found is not None:
                raise ValueError(
                    f"The output {root.name} would be {replaced}, and the {name} "
                    f"{code.shared.handle.name} holds {found.name}. Give another output."
                )
