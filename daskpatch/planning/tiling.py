"""From what was said of tiles to a strategy that fits images and model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..geometry import AxisTile, AxisTiling, TableAxis
from ..image import ImageStack
from ..model import Signature
from ..patching import AlignedPatching, Patching, TileGrid, as_margin, as_sizes
from ..probing import Probe

AUTO = "auto"

_DEFAULTS: dict[str, Any] = {
    "patch_size": None,
    "overlaps": 0,
    "align": 1,
    "min_size": 1,
}
"""What comes to the same as saying nothing."""


@dataclass(frozen=True)
class Tiling:
    """What `plan` was told of tiles: voxels, `"auto"`, or None where nothing was said.

    Tiles that are blended begin at multiples of the step.

    Raises
    ------
    TypeError, ValueError
        If it is no tiling.
    """

    patch_size: Any
    overlaps: Any
    align: Any
    min_size: Any
    patching: Patching | None
    blends: bool = False

    def __post_init__(self) -> None:
        for name in ("patch_size", "overlaps"):
            value = getattr(self, name)
            if isinstance(value, str) and value != AUTO:
                raise ValueError(f"{name} is {value!r}; needed are voxels, or 'auto'.")
        if is_auto(self.patch_size) and self.overlaps is None:
            object.__setattr__(self, "overlaps", AUTO)
        if self.patching is None:
            if self.patch_size is None:
                raise ValueError(
                    "Tiles have no size: give patch_size (voxels per spatial axis, one number, or "
                    "'auto'), or a strategy as patching."
                )
            return
        _check_strategy(self.patching)
        given = [
            name
            for name, default in _DEFAULTS.items()
            if getattr(self, name) is not None and not np.array_equal(getattr(self, name), default)
        ]
        if given:
            raise ValueError(
                f"Give patching or {', '.join(given)}, not both: the strategy has its own sizes."
            )

    @property
    def is_auto(self) -> bool:
        """Whether sizes are to be chosen."""
        return is_auto(self.patch_size) or is_auto(self.overlaps)

    def n_axes(self, probe: Probe | None) -> int | None:
        """How many spatial axes the tiles have, where that is said."""
        if self.patching is not None:
            if self.patching.n_patches > 0:
                return len(self.patching.get_patch_spec(0)["coords"])
            return None
        if np.ndim(self.patch_size) > 0:
            if len(self.patch_size) not in (2, 3):
                raise ValueError(
                    f"patch_size {tuple(self.patch_size)} has {len(self.patch_size)} entries; "
                    "needed are two (YX) or three (ZYX), or one number for all."
                )
            return len(self.patch_size)
        return None if probe is None else probe.ndim

    def decided(self, patch_size: tuple[int, ...], overlaps: tuple[int, ...]) -> Tiling:
        """The same, with these sizes where they were to be chosen."""
        return replace(
            self,
            patch_size=patch_size if is_auto(self.patch_size) else self.patch_size,
            overlaps=overlaps if is_auto(self.overlaps) else self.overlaps,
        )

    def with_probe(self, probe: Probe) -> Tiling:
        """Grid and smallest tile from a probe, where they were not given."""
        if self.patching is not None:
            return self
        return replace(
            self,
            align=probe.grid if self.align is None else self.align,
            min_size=probe.min_size if self.min_size is None else self.min_size,
        )

    def strategy(
        self, images: Sequence[ImageStack], margin: tuple[tuple[int, int], ...] | None
    ) -> Patching:
        """The strategy for these images; `margin` is the model's, where it is known already."""
        if self.patching is not None:
            return self.patching
        shapes = [image.data_shape for image in images]
        n_axes = len(shapes[0]) - 2
        align = as_sizes("align", 1 if self.align is None else self.align, n_axes, least=1)
        cut = as_margin(0 if margin is None else margin, n_axes)
        overlaps = self.overlaps
        if overlaps is None:
            patch_size = as_sizes("patch_size", self.patch_size, n_axes, least=1)
            overlaps = tuple(
                sum(sides) + (p - sum(sides)) % a if any(sides) else 0
                for p, sides, a in zip(patch_size, cut, align, strict=True)
            )
        min_size = 1 if self.min_size is None else self.min_size
        front = 0 if self.blends else None
        return AlignedPatching(shapes, self.patch_size, overlaps, align, min_size, cut, front)

    def for_signature(self, images: Sequence[ImageStack], signature: Signature) -> Patching:
        """The strategy for a model whose result has another size than its tile.

        Tiles start where an output voxel does.

        Raises
        ------
        ValueError
            If the sizes don't allow that.
        """
        if self.patching is not None:
            return self.patching
        n_axes = len(signature.scale)
        align = as_sizes("align", 1 if self.align is None else self.align, n_axes, least=1)
        cells = tuple(
            math.lcm(a, s.denominator) for a, s in zip(align, signature.scale, strict=True)
        )
        try:
            return replace(self, align=cells).strategy(images, signature.margin)
        except ValueError as error:
            scale = ", ".join(map(str, signature.scale))
            raise ValueError(
                f"The model gives {scale} voxels per voxel of its tile, less a margin of "
                f"{signature.margin}, so tiles lie on multiples of {cells}. {error}"
            ) from error


def check_geometry(signature: Signature, grids: Sequence[TileGrid]) -> None:
    """Refuse tiles whose crops the model's results don't cover, or cut through output voxels.

    Raises
    ------
    ValueError
        At the first one.
    """
    for grid in grids:
        for axis, tiling in enumerate(grid.axes):
            for tile in _telling(tiling):
                _check_tile(signature, axis, tile, tiling.size)


def _check_tile(signature: Signature, axis: int, tile: AxisTile, size: int) -> None:
    scale, (before, behind) = signature.scale[axis], signature.margin[axis]
    first, end = tile.start + before, tile.start + tile.size - behind
    if tile.keep_start < first or tile.keep_stop > end:
        raise ValueError(
            f"The model cuts {before} and {behind} voxels off its tiles along spatial axis {axis}: "
            f"of [{tile.start}, {tile.start + tile.size}) it gives [{first}, {end}), and the "
            f"tiling keeps [{tile.keep_start}, {tile.keep_stop}). Give patch_size and overlaps "
            "instead of patching, or an AlignedPatching with this margin."
        )
    edges = [first, tile.keep_start, *([tile.keep_stop] if tile.keep_stop < size else [])]
    if any((edge * scale).denominator > 1 for edge in edges):
        raise ValueError(
            f"The model gives {scale} voxels per voxel along spatial axis {axis}: tiles and their "
            f"crops must begin on multiples of {scale.denominator}, and one begins at {first} and "
            f"keeps [{tile.keep_start}, {tile.keep_stop}). Give align={scale.denominator}, or "
            "patch_size and overlaps instead of patching."
        )


def _telling(tiling: AxisTiling) -> Iterable[AxisTile]:
    """Tiles that stand for all: the ends of an arithmetic tiling, every tile of a table."""
    n = tiling.n_tiles
    if isinstance(tiling, TableAxis):
        return tiling.tiles
    return [tiling.tile(i) for i in sorted({0, min(1, n - 1), max(n - 2, 0), n - 1})]


def _check_strategy(patching: Any) -> None:
    """Refuse what does not follow the `Patching` protocol, a class instead of its instance too."""
    names = ("n_patches", "get_patch_spec", "get_patch_indices")
    if isinstance(patching, type) or not all(hasattr(patching, name) for name in names):
        raise TypeError(
            f"patching is {patching!r}; needed is a strategy (an instance), for example "
            "TiledPatching(data_shapes, patch_size, overlaps)."
        )


def is_auto(value: Any) -> bool:
    """Whether a value is to be chosen."""
    return isinstance(value, str) and value == AUTO
