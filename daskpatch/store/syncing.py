"""Files seen onto the disk: what is written lies in the memory of the operating system first."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from itertools import accumulate

from .location import Location

_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EROFS)
"""From file systems that know no such thing."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR)

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def flush_objects(location: Location, names: Iterable[str]) -> None:
    """See that objects outlast the machine, by their names under a place.

    In a folder their files, and the folders on the way to them, are seen onto the disk; what a
    server has answered for is its own to keep. One that is not there was not stored, as chunks of
    fill value are not; or it is gone, which is for others to notice.

    Raises
    ------
    OSError
        If one may be lost. Its content is gone then: a second call would not say so again.
    """
    if location.local_path is not None:
        _sync_files(str(location.local_path), names)


def flush_metadata(location: Location) -> None:
    """See that the metadata of an array or group outlast the machine, and of groups around it.

    Raises
    ------
    OSError
        As `flush_objects`.
    """
    if location.local_path is not None:
        _sync_node(str(location.local_path))


def _sync_files(root: str, names: Iterable[str]) -> None:
    folders = {root}
    for name in names:
        _sync(f"{root}/{name}")
        ways = accumulate(name.split("/")[:-1], "{}/{}".format)
        folders.update(f"{root}/{way}" for way in ways)
    for folder in sorted(folders, reverse=True):  # what lies in one before itself
        _sync(folder)


def _sync_node(folder: str) -> None:
    _sync_files(folder, _METADATA)
    above = os.path.dirname(folder)
    if above != folder and any(os.path.exists(f"{above}/{name}") for name in _METADATA):
        _sync_node(above)
    else:
        _sync(above)


def _sync(path: str) -> None:
    is_windows = os.name == "nt"
    if is_windows and os.path.isdir(path):  # has no such thing for folders
        return
    try:
        # By another descriptor than the one that wrote it: an error that nobody saw yet is told.
        opened = os.open(path, os.O_RDWR if is_windows else os.O_RDONLY)
    except OSError as error:
        if error.errno in _ABSENT:
            return
        raise
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
    finally:
        os.close(opened)
