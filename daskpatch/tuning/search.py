"""All tilings that are exact, and what a run of each would take.

A run costs the voxels that its tiles hold, at the speed that the probe measured for tiles of
that size, and a little for each tile. So few large tiles are good, for their halos are a small
part of them; tiles that are too large leave threads idle or don't fit; and crops must lie on the
edges of the output's write units, or tiles are computed once for each block that they touch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..deciding import Candidate, PlanOptions, Tiles, is_auto
from ..geometry import AlignedAxis, Sizes, as_sizes
from ..image import ImageStack
from ..probing import Probe
from .cost_model import CostModel

_TILE_SECONDS = 3e-4
"""What a tile takes beside the model: a Python call or ten, and its share of a read."""

_VOXEL_SECONDS = 4e-9
"""What a computed voxel takes beside the model: decoded, converted, cropped."""

_SHARE = 0.3
"""Of the memory limit that the model and its batches may take: calls after the first take more."""

_LARGER = 1.05
"""A larger batch has to be faster by this."""

_HANDY = 16
"""Larger distances of crops are multiples of it."""

_LOOKED_AT = 300
"""Tilings that are looked at closely."""

_BLEND_SHARE = 4
"""Tiles that are blended overlap by a quarter at least."""


@dataclass(frozen=True)
class AxisCandidate:
    """A tile along one axis: voxels, overlap, computed voxels per voxel kept, tiles."""

    patch: int
    overlap: int
    ratio: float
    tiles: int


@dataclass(frozen=True)
class Search:
    """All tilings worth a thought, with what a run of each would take."""

    options: PlanOptions
    images: tuple[ImageStack, ...]
    known: Probe
    units: tuple[int, ...] | None

    @property
    def tiles(self) -> Tiles:
        return self.options.tiles

    @property
    def threads(self) -> int:
        return self.options.limits.n_threads

    @property
    def keeps_threads(self) -> bool:
        """Whether the number of threads was given."""
        return self.options.limits.threads is not None

    @cached_property
    def limit(self) -> int:
        return self.options.limits.nbytes

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The largest size along each axis."""
        return tuple(map(max, zip(*(image.data_shape[2:] for image in self.images), strict=True)))

    @property
    def n_samples(self) -> int:
        return sum(image.data_shape[0] for image in self.images)

    @property
    def why(self) -> str:
        facts = [f"halo {self.known.halo}", f"on multiples of {self.grid}"]
        if self.units is not None and any(self.units):
            facts.append(f"crops on write units of {self.units}")
        facts.append("the fastest by the probe's speeds" if self.known.costs else "fewest voxels")
        return f"{', '.join(facts)}. {self.known.advice}"

    @property
    def grid(self) -> tuple[int, ...]:
        return as_sizes("align", self.tiles.align or 1, self.known.ndim, least=1)

    def candidates(self) -> Iterator[Candidate]:
        """The tilings that look the best at a glance, and the smallest one."""
        along = [list(self._sizes(axis)) for axis in range(self.known.ndim)]
        if not all(along):
            return
        glance = self._glance(along)
        best = np.argsort(glance, axis=None, kind="stable")[:_LOOKED_AT]
        smallest = np.argmin(_outer([[size.patch for size in sizes] for sizes in along]))
        for flat in dict.fromkeys([*best.tolist(), int(smallest)]):
            at = np.unravel_index(flat, glance.shape)
            yield self._candidate([sizes[i] for sizes, i in zip(along, at, strict=True)])

    def _glance(self, along: Sequence[Sequence[AxisCandidate]]) -> NDArray[np.float64]:
        """Seconds of all combinations of sizes, roughly: for batches of one."""
        patch, ratio, tiles = (
            _outer([[getattr(size, name) for size in sizes] for sizes in along])
            for name in ("patch", "ratio", "tiles")
        )
        per_voxel = self._costs.seconds_per_voxel(patch, 1) + _VOXEL_SECONDS
        tiles = tiles * self.n_samples
        fitting = _SHARE * self.limit / self._costs.nbytes((1,), 1) / patch
        threads = self.threads if self.keeps_threads else np.clip(fitting, 1, self.threads)
        waves = np.ceil(tiles / threads)
        voxels = float(math.prod(self.shape)) * self.n_samples * ratio
        seconds = (voxels * per_voxel / tiles + _TILE_SECONDS) * waves
        return np.where(fitting < threads, np.inf, seconds)

    def _candidate(self, sizes: Sequence[AxisCandidate]) -> Candidate:
        patch = tuple(size.patch for size in sizes)
        ratio = math.prod(size.ratio for size in sizes)
        tiles = math.prod(size.tiles for size in sizes) * self.n_samples
        voxels = float(math.prod(self.shape)) * self.n_samples * ratio
        batch = self._batch(patch)
        per_thread = self._costs.nbytes(patch, batch)
        threads = self.threads
        while not self.keeps_threads and threads > 1 and threads * per_thread > _SHARE * self.limit:
            threads //= 2
        waves = math.ceil(tiles / threads)  # a tile is computed by one thread
        busy = tiles / (waves * threads)
        per_voxel = float(self._costs.seconds_per_voxel(math.prod(patch), batch))
        per_voxel *= len(self.options.model.positions(self.known.ndim))
        seconds = (voxels * (per_voxel + _VOXEL_SECONDS) + tiles * _TILE_SECONDS) / threads / busy
        needed = threads * per_thread
        return Candidate(
            patch_size=patch,
            overlaps=tuple(size.overlap for size in sizes),
            batch_size=batch,
            threads=threads,
            compute_ratio=ratio,
            model_memory=int(needed),
            seconds=seconds,
            reason="too large for memory" if needed > _SHARE * self.limit else "",
        )

    def _sizes(self, axis: int) -> Iterator[AxisCandidate]:
        """Tiles along one axis, each once, those of equal use left out."""
        n, align = self.shape[axis], self.grid[axis]
        margin = self.known.margin[axis]
        least = as_sizes("min_size", self.tiles.min_size or 1, self.known.ndim, least=1)[axis]
        best: dict[int, AxisCandidate] = {}
        for patch, overlap in self._pairs(axis):
            if patch < least or overlap >= patch:
                continue
            front = 0 if self.options.output.blends else None
            line = AlignedAxis(n, patch, overlap, align, least, margin, front)
            tile = line.tile(0)
            size = AxisCandidate(patch, overlap, line.n_tiles * tile.size / n, line.n_tiles)
            if line.n_tiles not in best or size.ratio < best[line.n_tiles].ratio:
                best[line.n_tiles] = size
        yield from best.values()

    def _pairs(self, axis: int) -> Iterator[tuple[int, int]]:
        """Sizes of tiles with their overlaps, whatever was given kept."""
        given_patch = _given(self.tiles.patch_size, self.known.ndim, axis)
        given_overlap = _given(self.tiles.wanted_overlaps, self.known.ndim, axis)
        along, cut = self.known.sizes[axis], sum(self.known.margin[axis])
        if given_patch is None and along.step == 0:
            given_patch = along.smallest
        if given_patch is not None:
            least = cut + (given_patch - cut) % self.grid[axis] if cut else 0
            # A tile that spans the image needs none.
            spans = given_patch >= self.shape[axis] + cut
            if is_auto(self.tiles.wanted_overlaps) and not spans:
                given_overlap = self._overlap(axis, given_patch)
            yield given_patch, least if given_overlap is None else given_overlap
            return
        if given_overlap is None:
            whole = self._taken(axis, self.shape[axis] + cut)
            yield whole, cut + (whole - cut) % self.grid[axis]
        for step in self._steps(axis):
            if given_overlap is not None:
                yield step + given_overlap, given_overlap
            else:
                yield self._fitted(axis, step)

    def _fitted(self, axis: int, step: int) -> tuple[int, int]:
        """A tile that keeps `step` voxels, of a size that the model takes."""
        patch = self._taken(axis, step + self._overlap(axis, step))
        patch = self._taken(axis, step + self._overlap(axis, patch))
        return patch, patch - step

    def _taken(self, axis: int, n: int) -> int:
        """The smallest tile of n voxels or more that the model takes, and that fits the grid."""
        along, grid = self.known.sizes[axis], self.grid[axis]
        size = along.at_least(n)
        if along.step == 0 or along.margin:
            return size
        steps = range(size, size + grid * along.step + 1, along.step)
        return next((taken for taken in steps if taken % grid == 0), size)

    def _overlap(self, axis: int, patch: int) -> int:
        """Room for the halo on both sides, on the grid; more, where tiles are blended."""
        grid, margin = self.grid[axis], self.known.margin[axis]
        sides = self._halo_sides(axis)
        beyond = max(max(side - m, 0) for side, m in zip(sides, margin, strict=True))
        if self.options.output.blends:
            beyond = max(beyond, patch // _BLEND_SHARE // 2)
        overlap = 2 * -(-beyond // grid) * grid + sum(margin)
        return overlap + (patch - overlap) % grid if sum(margin) else overlap

    def _halo_sides(self, axis: int) -> tuple[int, int]:
        """Of a tile in all its positions: flips swap sides, turns swap Y and X."""
        sides = list(self.known.halo_sides)
        if "rot90" in (self.options.model.augment or ()):
            widest = max(*sides[-1], *sides[-2])
            sides[-2:] = [(widest, widest)] * 2
        if "flips" in (self.options.model.augment or ()):
            sides = [(max(side), max(side)) for side in sides]
        return sides[axis]

    def _steps(self, axis: int) -> list[int]:
        """Distances of crops: those that cut the axis evenly, or fit the write units."""
        n, align = self.shape[axis], self.grid[axis]
        unit = self.units[axis] if self.units is not None else 0
        even = {-(-n // (count * align)) * align for count in range(1, 33)}
        handy = math.lcm(align, _HANDY)  # chunks will be divisors of it
        steps = even | {k * align for k in _ladder(min(4 * handy, n) // align)}
        steps |= {k * handy for k in _ladder(n // handy)}
        if unit:
            cells = {step for step in range(align, unit + 1, align) if unit % step == 0}
            whole = math.lcm(unit, align)
            fitting = cells | {k * whole for k in _ladder(n // whole)}
            steps = fitting or steps
        return sorted(steps)

    def _batch(self, patch: tuple[int, ...]) -> int:
        """The smallest batch that is about as fast as any, for tiles like this one."""
        if self.tiles.batch_size != "auto":
            return self.tiles.batch_size
        best, speed = 1, 0.0
        for cost in self._costs.measured_like(patch):
            fits = self.threads * self._costs.nbytes(patch, cost.batch) < _SHARE * self.limit
            if cost.batch == 1 or (fits and cost.voxels_per_second > _LARGER * speed):
                best, speed = cost.batch, cost.voxels_per_second
        return best

    @property
    def _costs(self) -> CostModel:
        return CostModel(self.known)


def _outer(values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Products of one value from each list, as an array with an axis for each list."""
    return reduce(np.multiply.outer, [np.asarray(one, float) for one in values])


def _ladder(most: int) -> Iterator[int]:
    """1, 2, 3, … each about a sixth more than the last."""
    value = 1
    while value <= most:
        yield value
        value = max(value + 1, value * 7 // 6)


def _given(value: Sizes | Literal["auto"] | None, n_axes: int, axis: int) -> int | None:
    """Voxels along one axis; None where none were given."""
    if value is None or isinstance(value, str):
        return None
    return as_sizes("patch_size or overlaps", value, n_axes, least=0)[axis]
