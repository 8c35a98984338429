"""What can be said of a source before its axes are known."""

from __future__ import annotations

import math
from typing import Any

from ..geometry import check_axes
from ..store import members_of
from ..support import without_secrets
from .opening import find


def information(source: str, axes: str | None = None) -> dict[str, Any]:
    """Shape, dtype, axes and chunks of an array, or the members of a group.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        If the axes don't fit the array.
    """
    members = members_of(source)
    if members is not None:
        facts = {
            name: None if array is None else {"shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in members.items()
        }
        return {"source": without_secrets(source), "members": facts}
    found = find(source)
    array, named = found.array, axes or found.axes
    return {
        "source": found.name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "axes": None if named is None else check_axes(named, array.shape),
        "chunks": list(array.chunks or array.shape),
        "nbytes": array.dtype.itemsize * math.prod(array.shape),
        **({"channels": list(found.channel_names)} if found.channel_names else {}),
    }
