"""Datasets of HDF5 files, read by h5py: `volume.h5:/raw`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support import load_extra, said_by
from .array_choice import ArrayChoice, check_one
from .imaris import ImarisReader, is_imaris
from .reader import Box, Facts, Reader, VoxelSize

_LISTED = 10
"""Datasets that are told."""

_FEWEST_AXES = 2


def opened_hdf5(path: str, choice: ArrayChoice) -> Reader:
    """A dataset of an HDF5 file, or the image of an Imaris file.

    Raises
    ------
    ValueError
        If there is none such, it is not told which, or the file is torn.
    ImportError
        If h5py is missing.
    """
    h5py = load_extra("h5py", f"Reading {path}")
    try:
        file = h5py.File(path, "r")
    except BlockingIOError as error:
        raise OSError(
            f"{path} is locked by who writes it ({said_by(error)}); wait until it is closed."
        ) from None
    except OSError as error:
        if error.errno is not None:  # no permission
            raise
        raise ValueError(
            f"{path} cannot be opened as HDF5 ({said_by(error)}); is it torn, or still written?"
        ) from None
    if choice.name is None and is_imaris(file):
        return ImarisReader(path, file, choice)
    return DatasetReader(path, file, choice)


class DatasetReader:
    """A dataset of an HDF5 file; h5py lets one thread read at a time."""

    def __init__(self, path: str, file: Any, choice: ArrayChoice) -> None:
        check_one(choice, path, how=f", and name a dataset: {path}:/name")
        self._dataset = _chosen(file, choice.name, path)

    @cached_property
    def facts(self) -> Facts:
        dataset = self._dataset
        return Facts(
            tuple(dataset.shape),
            np.dtype(dataset.dtype).newbyteorder("="),
            _axis_names(dataset),
            dataset.chunks,
            sizes=_sizes(dataset),
        )

    def read(self, box: Box) -> NDArray[np.generic]:
        values: NDArray[np.generic] = self._dataset[box]
        return values.astype(self.facts.dtype, copy=False)


def _chosen(file: Any, name: str | None, path: str) -> Any:
    """The dataset of a name; without one, and of `file.h5:/`, the only array that there is."""
    found = file.get(name) if name else None
    if found is not None and hasattr(found, "chunks") and found.shape is not None:
        return found
    arrays = dict(_arrays(file))
    if not name and len(arrays) == 1:
        return next(iter(arrays.values()))
    listed = ", ".join(f"{each} {found.shape}" for each, found in list(arrays.items())[:_LISTED])
    listed += ", …" if len(arrays) > _LISTED else ""
    holds = f"it holds {listed}" if arrays else "it holds no array of two or more axes"
    example = next(iter(arrays), "/name")
    if not name:
        raise ValueError(
            f"{path} is an HDF5 file, of which one array is read, and {holds}. Name it: "
            f"{path}:{example}"
        )
    raise ValueError(f"{path} has no dataset {name}; {holds}.")


def _arrays(file: Any) -> Iterator[tuple[str, Any]]:
    """The datasets of numbers with as many axes as an image has."""
    named: list[tuple[str, Any]] = []

    def visit(name: str, node: Any) -> None:
        if hasattr(node, "chunks") and len(node.shape or ()) >= _FEWEST_AXES:
            named.append((f"/{name}", node))

    file.visititems(visit)
    return ((name, node) for name, node in sorted(named) if node.dtype.kind in "biuf")


def _axis_names(dataset: Any) -> tuple[str, ...] | None:
    """Labels of dimensions, names of their scales (netCDF), or vigra's axistags (ilastik)."""
    names = [_name_of(dimension) for dimension in dataset.dims]
    if names and all(names):
        return tuple(names)
    try:
        axes = json.loads(dataset.attrs["axistags"])["axes"]
        keys = tuple(str(axis["key"]) for axis in axes)
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return keys if len(keys) == len(dataset.shape) else None


def _name_of(dimension: Any) -> str:
    if dimension.label:
        return str(dimension.label)
    return str(dimension[0].name).rpartition("/")[2] if len(dimension) else ""


def _sizes(dataset: Any) -> dict[str, VoxelSize]:
    """By `element_size_um`, the sizes of Z, Y and X, as ilastik's and ImageJ's plug-ins have it."""
    told = np.asarray(dataset.attrs.get("element_size_um", ()))
    if told.shape != (3,) or told.dtype.kind not in "iuf":
        return {}
    return {axis: (float(n), "micrometer") for axis, n in zip("ZYX", told, strict=True)}
