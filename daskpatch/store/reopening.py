"""An open array opened once more: by its format, since strict stores refuse unknown keys."""

from __future__ import annotations

from typing import Literal

import zarr
from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import MemoryStore, StorePath
from zarr.types import AnyArray

from .withdrawal import RememberingStore


def reading_mode(store: Store) -> Literal["r", "r+"]:
    """The mode in which zarr reads a store: not every one can be seen read-only."""
    try:
        if not store.read_only:
            store.with_read_only(read_only=True)
    except NotImplementedError:
        return "r+"
    return "r"


def document_of(array: AnyArray) -> str:
    """The name of the object in an array's folder that says what the array is."""
    return "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"


def array_told_by(document: bytes, like: AnyArray) -> AnyArray:
    """The array that a document says, without voxels; of the format of another one.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it says none.
    """
    content = default_buffer_prototype().buffer.from_bytes(document)
    store = MemoryStore({document_of(like): content}, read_only=True)
    return zarr.open_array(store=store, mode="r", zarr_format=like.metadata.zarr_format)


def through(array: AnyArray, store: Store, like: AnyArray | None = None) -> AnyArray:
    """The array by the metadata that it has now, through a store that shows the same keys.

    Whoever resizes the one that was given changes that alone. Settings that no metadata tell, as
    whether empty chunks are written, are its own, or `like` those of another one.
    """
    place = StorePath(store, array.path)
    return zarr.Array(zarr.AsyncArray(array.metadata, place, (like or array).config))


def remembering(array: AnyArray) -> RememberingStore:
    """The store of an array that was opened: its document could be read."""
    folder = f"{array.path}/" if array.path else ""
    return RememberingStore(array.store, folder + document_of(array))


def reopened(array: AnyArray, store: Store | None = None) -> AnyArray:
    """The array as its store has it now, or another store that shows the same keys.

    Raises
    ------
    FileNotFoundError
        If it is not there any more.
    """
    # Not every store can be seen read-only: the mode is the array's own.
    mode: Literal["r", "r+"] = "r" if array.read_only else "r+"
    return zarr.open_array(
        store=array.store if store is None else store,
        path=array.path,
        mode=mode,
        zarr_format=array.metadata.zarr_format,
    )
