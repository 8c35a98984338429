"""Arrays that a model, or a function, reads from: none of them may be what is written."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..deciding import Code, Identity
from ..image import arrays_read_by, why_array_is_endangered
from ..model import module_of
from ..output import Target

_PACKAGES = {"zarr", "dask", "xarray", "h5py", "tensorstore"}
"""Whose arrays read from somewhere."""


def check_not_read(identity: Identity, target: Target) -> None:
    """Refuse to delete, or to write into, an array that a model holds.

    Arrays are found where what tells the model from others is looked at; of one that is told by a
    text of the user's, where its pickle would have them.

    Raises
    ------
    ValueError
        If it holds one.
    """
    if target.array is None and not target.overwrite:
        return
    for name, code in identity.codes.items():
        held = list(_arrays_of(code))
        for root in target.roots:
            why = why_array_is_endangered(held, root)
            if why:
                replaces = "written into" if target.array is not None else "replaced"
                raise ValueError(
                    f"The output {root.name} would be {replaces}, and the {name} "
                    f"{code.shared.handle.name} needs it: {why}. Give another output."
                )


def _arrays_of(code: Code) -> Iterable[object]:
    if code.contents is None:
        return arrays_read_by(code.shared.handle)
    return (held for held, _ in code.contents.places.values() if _is_array(held))


def _is_array(held: object) -> bool:
    package = module_of(type(held)).partition(".")[0]
    return isinstance(held, np.ndarray) or (package in _PACKAGES and hasattr(held, "shape"))
