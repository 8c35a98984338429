"""What can be said of a source before its axes are known."""

from __future__ import annotations

import math
from typing import Any

import zarr

from ..dimensions import check_axes
from ..store import existing_node, is_ome, locate, without_secrets
from .opening import find


def information(source: str, axes: str | None = None) -> dict[str, Any]:
    """Shape, dtype, axes and chunks of an array, or the arrays of a group.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        If the axes don't fit the array.
    """
    node = existing_node(locate(source, read_only=True))
    if isinstance(node, zarr.Group) and not is_ome(node):
        arrays = {name: _of_array(array) for name, array in sorted(node.arrays())}
        return {"source": without_secrets(source), "arrays": arrays}
    found = find(source)
    named = axes or found.axes
    shape, dtype = found.array.shape, found.array.dtype
    return {
        "source": found.source,
        "shape": list(shape),
        "dtype": str(dtype),
        "axes": None if named is None else check_axes(named, shape),
        "chunks": list(found.array.chunks or shape),
        "nbytes": dtype.itemsize * math.prod(shape),
    }


def _of_array(array: zarr.Array[Any]) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}
