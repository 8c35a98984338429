"""NIfTI files, read by nibabel; their axes X, Y, Z, T are given in the order of memory: TZYX."""

from __future__ import annotations

import gzip
import os
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..store import Places
from ..support import load_extra, said_by
from .array_choice import ArrayChoice, check_one
from .reader import Box, Facts, VoxelSize
from .voxel_places import places_along

_AXES = "XYZTC"

_UNITS = {"usec": "microsecond", "msec": "millisecond", "sec": "second", "micron": "micrometer"}
"""Those of time that have names of their own."""

_STEP = 2**24
"""Bytes that a compressed file is looked through by."""


class NiftiReader:
    """The array of a NIfTI file, scaled as its header says; nibabel reads from several threads.

    Raises
    ------
    ValueError
        If the file is torn, or none of NIfTI.
    ImportError
        If nibabel is missing.
    """

    def __init__(self, path: str, choice: ArrayChoice) -> None:
        nibabel = load_extra("nibabel", f"Reading {path}")
        check_one(choice, path)
        try:
            self._image = nibabel.load(path)
        except (nibabel.filebasedimages.ImageFileError, EOFError) as error:
            raise ValueError(
                f"{path} is torn, or no sound NIfTI file ({said_by(error)}); copy it again."
            ) from None
        if len(self._image.file_map) > 1:
            raise ValueError(
                f"{path} is one of a pair of files (.hdr, .img), of which one is watched; save "
                "it as one file, .nii."
            )
        self._data = self._image.dataobj
        self._is_compressed = path.lower().endswith(".gz")
        self._check_end(path)

    @cached_property
    def facts(self) -> Facts:
        shape = tuple(int(n) for n in self._data.shape)
        axes = _AXES[: len(shape)][::-1]
        # Of a voxel it is known what it is once it is scaled.
        first = self._data[(slice(0, 1),) * len(shape)]
        note = (
            "is compressed as a whole: to read a part, all before it is decoded. Decompress it "
            "once, with gunzip"
        )
        return Facts(
            shape[::-1],
            np.asarray(first).dtype.newbyteorder("="),
            tuple(axes) if len(axes) == len(shape) else None,
            places=self._places(axes),
            note=note if self._is_compressed else "",
        )

    def read(self, box: Box) -> NDArray[np.generic]:
        values = np.asarray(self._data[box[::-1]])
        return values.astype(self.facts.dtype, copy=False).T

    def _places(self, axes: str) -> Places | None:
        """By the header's voxel sizes; the first one's place where the axes are not turned."""
        header = self._image.header
        space, time = header.get_xyzt_units()
        zooms = dict(zip(_AXES, header.get_zooms(), strict=False))
        sizes: dict[str, VoxelSize] = {
            axis: (float(f"{size:.7g}"), _unit(time if axis == "T" else space))
            for axis, size in zooms.items()
            if axis != "C"
        }
        places = places_along(axes, sizes)
        affine = np.asarray(self._image.affine)
        diagonal = np.diag(np.diag(affine[:3, :3]))
        if places is None or (affine[:3, :3] != diagonal).any() or (np.diag(affine) <= 0).any():
            return places
        first = {axis: float(n) for axis, n in zip("XYZ", affine[:3, 3], strict=True)}
        return tuple(
            (scale, first.get(axis, 0.0), unit)
            for axis, (scale, _, unit) in zip(axes, places, strict=True)
        )

    def _check_end(self, path: str) -> None:
        """Refuse a file that ends before its voxels do."""
        dtype: Any = self._image.header.get_data_dtype()
        needed = self._data.offset + int(np.prod(self._data.shape, dtype=np.int64)) * dtype.itemsize
        has = _unpacked_size(path, needed) if self._is_compressed else os.path.getsize(path)
        if has < needed:
            raise ValueError(
                f"{path} is torn: its voxels end at byte {needed}, the file at {has}; copy it "
                "again."
            )


def _unpacked_size(path: str, expected: int) -> int:
    """Bytes of a gzip file once it is unpacked, as far as it can be."""
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(), "little") == expected % 2**32:
            return expected
    # It may be made of several parts, of which each tells its own size: all of it is looked at.
    size = 0
    try:
        with gzip.open(path) as unpacked:
            while part := unpacked.read(_STEP):
                size += len(part)
    except (EOFError, OSError):
        pass
    return size


def _unit(name: str) -> str | None:
    return None if name == "unknown" else _UNITS.get(name, name)
