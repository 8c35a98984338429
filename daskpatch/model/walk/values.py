"""What sequences, mappings and arrays are made of."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...support import all_said_by, cause_of
from ..contents import NoIdentityError
from .walk import PLAIN, Walk, description_of_dtype


def look_at_sequence(walk: Walk, items: Any, path: str, holder: str) -> None:
    if all(type(item) in PLAIN or type(item) is int for item in items):
        # Long ones are no leaves each: a table of a million numbers is one thing.
        digest = hashlib.sha256()
        for item in items:
            told = f"{item:x}" if type(item) is int else repr(item)
            digest.update(f"{type(item).__name__} {told}\n".encode("utf-8", "surrogatepass"))
        walk.add("attributes", path, holder, digest.hexdigest())
        return
    # Where one grows, it is the whole that changed, not the items that came.
    walk.add("attributes", path, holder, f"{len(items)} items")
    for number, item in enumerate(items):
        walk.hold(item, f"{path}[{number}]")


_COUNT = ".__len__"
"""After the path of a mapping: what holds the number of its entries."""


def look_at_mapping(walk: Walk, mapping: Any, path: str, holder: str) -> None:
    # A call that adds an entry changes their number, not what the others are.
    walk.tell(f"{len(mapping)} entries", path, holder and f"{path}{_COUNT}")
    for number, (key, value) in enumerate(mapping.items()):
        name = key if type(key) is str else number
        walk.hold(key, f"{path}[{number}].key")
        walk.hold(value, f"{path}[{name}]")


def look_at_array(walk: Walk, values: NDArray[Any] | np.generic, path: str, holder: str) -> None:
    array = np.asarray(values)
    told = f"{description_of_dtype(array.dtype)} {array.shape}"
    if array.dtype.metadata is not None:
        walk.visit(array.dtype, f"{path}.dtype", holder)
    if array.dtype.names is not None:
        walk.add("weights", path, holder, told)
        for name in array.dtype.names:  # without what lies between the fields
            look_at_array(walk, array[name], f"{path}[{name}]", holder)
    elif array.dtype.hasobject:
        walk.add("weights", path, holder, told)
        look_at_sequence(walk, array.reshape(-1).tolist(), path, holder)
    elif not walk.look.is_cursory:
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        walk.add("weights", path, holder, f"{told} {hashlib.sha256(content).hexdigest()}")
    if isinstance(values, np.ma.MaskedArray):
        look_at_array(walk, np.ma.getmaskarray(values), f"{path}.mask", holder)
        look_at_array(walk, np.asarray(values.fill_value), f"{path}.fill_value", holder)
    elif type(values) not in (np.ndarray, np.memmap) and isinstance(values, np.ndarray):
        walk.visit(type(values), f"{path}.__class__", "")
        walk.hold_all(values, path)


_READ = 64_000_000
"""Bytes of a stored array that are read to tell it from others."""


def look_at_stored(walk: Walk, node: Any, path: str, holder: str) -> None:
    """A zarr array, by its voxels and attributes: those of another day lie at the same path.

    Raises
    ------
    NoIdentityError
        If it is too large for that, cannot be read, or is a group.
    """
    if walk.look.is_cursory:
        return
    nbytes = getattr(node, "nbytes", None)
    if not hasattr(type(node), "__getitem__") or nbytes is None or nbytes > _READ:
        size = "" if nbytes is None else f" of {nbytes / 1e6:.0f} MB"
        raise NoIdentityError(f"{path} is a zarr {type(node).__name__}{size}, which may change")
    try:
        values, attributes = node[...], node.attrs.asdict()
    except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
        raise NoIdentityError(
            f"{path} is a zarr array that cannot be read: {all_said_by(error)}"
        ) from cause_of(error)
    look_at_array(walk, values, path, holder)
    walk.hold(attributes, f"{path}.attrs")
