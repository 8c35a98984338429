"""CZI files of Zeiss microscopes, read by pylibCZIrw: a scene as one image, mosaics composed."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support import load_extra, said_by
from .array_choice import ArrayChoice, check_one, chosen_image
from .reader import Box, Facts, VoxelSize
from .voxel_places import places_along

_DTYPES = {"Gray8": "u1", "Gray16": "u2", "Gray32Float": "f4", "Bgr24": "u1", "Bgr48": "u2"}

_PLANES = "TCZ"


class CziReader:
    """A scene of a CZI file: times, channels, Z, Y, X, less those of length 1 but Y and X.

    Colours are channels, in the order R, G, B.

    Raises
    ------
    ValueError
        If there is no such scene, or its voxels are of a kind that is not read.
    ImportError
        If pylibCZIrw is missing.
    """

    def __init__(self, path: str, choice: ArrayChoice) -> None:
        czi = load_extra("pylibCZIrw.czi", f"Reading {path}")
        check_one(ArrayChoice(level=choice.level), path)
        try:
            self._file = czi.CziReader(path)
        except RuntimeError as error:  # libCZI's only kind
            raise ValueError(
                f"{path} is torn, or no sound CZI file ({said_by(error)}); copy it again."
            ) from None
        scenes = self._file.scenes_bounding_rectangle
        names = [str(scene) for scene in scenes] or ["0"]
        if choice.image is None and len(names) > 1:
            raise ValueError(
                f"{path} holds {len(names)} scenes, {', '.join(names):.200}; choose one (image=…)."
            )
        index = chosen_image(choice, names, path)
        self._scene = list(scenes)[index] if scenes else None
        self._box = scenes[self._scene] if scenes else self._file.total_bounding_rectangle
        kinds = set(self._file.pixel_types.values())
        if len(kinds) != 1 or not kinds <= set(_DTYPES):
            raise ValueError(
                f"{path} has channels of {', '.join(sorted(map(str, kinds)))}; needed is one kind "
                f"of {', '.join(_DTYPES)}."
            )
        self._kind = kinds.pop()
        self._has_colours = self._kind.startswith("Bgr")
        if self._has_colours and self._ranges["C"][1] > 1:
            raise ValueError(f"{path} has several channels of colours; needed is one.")

    @cached_property
    def facts(self) -> Facts:
        kept = self._kept
        sizes = self._sizes
        return Facts(
            tuple(sizes[axis] for axis in kept),
            np.dtype(_DTYPES[self._kind]),
            tuple(kept),
            channel_names=("R", "G", "B") if self._has_colours else self._channel_names,
            places=self._places(kept),
        )

    def read(self, box: Box) -> NDArray[np.generic]:
        parts = {axis: slice(0, 1) for axis in "TCZYX"} | dict(zip(self._kept, box, strict=True))
        shape = [parts[axis].stop - parts[axis].start for axis in "TCZYX"]
        out = np.empty(shape, self.facts.dtype)
        colours = parts["C"]
        if self._has_colours:
            parts["C"] = slice(0, 1)
        y, x = parts["Y"], parts["X"]
        roi = (self._box.x + x.start, self._box.y + y.start, shape[4], shape[3])
        wanted = (range(parts[axis].start, parts[axis].stop) for axis in _PLANES)
        for plane in product(*wanted):
            at = {axis: self._ranges[axis][0] + i for axis, i in zip(_PLANES, plane, strict=True)}
            values = self._file.read(roi=roi, plane=at, scene=self._scene)
            t, c, z = (i - parts[axis].start for axis, i in zip(_PLANES, plane, strict=True))
            if self._has_colours:
                out[t, :, z] = np.moveaxis(values[..., ::-1], -1, 0)[colours]
            else:
                out[t, c, z] = values[..., 0]
        return out.reshape([part.stop - part.start for part in box])

    @cached_property
    def _ranges(self) -> dict[str, tuple[int, int]]:
        """The first index along each axis that is no plane's, and how many there are."""
        told = self._file.total_bounding_box
        return {axis: (told[axis][0], told[axis][1] - told[axis][0]) for axis in _PLANES}

    @cached_property
    def _sizes(self) -> dict[str, int]:
        sizes = {axis: n for axis, (_, n) in self._ranges.items()}
        colours = {"C": 3} if self._has_colours else {}
        return {**sizes, **colours, "Y": self._box.h, "X": self._box.w}

    @cached_property
    def _kept(self) -> str:
        return "".join(axis for axis in "TCZYX" if axis in "YX" or self._sizes[axis] > 1)

    @cached_property
    def _metadata(self) -> Any:
        try:
            return self._file.metadata["ImageDocument"]["Metadata"]
        except (KeyError, TypeError):
            return {}

    @property
    def _channel_names(self) -> tuple[str, ...]:
        try:
            told = self._metadata["Information"]["Image"]["Dimensions"]["Channels"]["Channel"]
            each = told if isinstance(told, list) else [told]
            return tuple(str(channel["@Name"]) for channel in each)
        except (KeyError, TypeError):
            return ()

    def _places(self, axes: str) -> Any:
        """By the scaling, which is in metres; scenes lie where they lie in the mosaic."""
        sizes: dict[str, VoxelSize] = {}
        try:
            told = self._metadata["Scaling"]["Items"]["Distance"]
            for one in told if isinstance(told, list) else [told]:
                sizes[one["@Id"]] = (float(f"{float(one['Value']) * 1e6:.12g}"), "micrometer")
        except (KeyError, TypeError, ValueError):
            return None
        places = places_along(axes, sizes)
        first = {"Y": self._box.y, "X": self._box.x}
        return places and tuple(
            (scale, first.get(axis, 0) * scale, unit)
            for axis, (scale, _, unit) in zip(axes, places, strict=True)
        )
