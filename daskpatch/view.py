"""The prediction as an array: indexing it predicts what it touches, and nothing else."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise, product
from types import EllipsisType
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from dask.delayed import delayed
from dask.highlevelgraph import HighLevelGraph
from dask.utils import format_bytes
from numpy.typing import NDArray

from .block import (
    HeldChunk,
    Prediction,
    Workspace,
    block_grid,
    held_arrays,
    held_chunks,
    predict_region,
    predict_with,
    touching,
    without_held,
)
from .geometry import Dimensions, Region, counterparts
from .image import drawing_of, look_at_all
from .support import html_table, shown

Index = int | slice

Key = Index | EllipsisType | tuple[Index | EllipsisType, ...]
"""Integers, slices with steps, and at most one `...`."""


class _Piece(NamedTuple):
    """A run of requested indices along one axis: `[start, stop)` by `step`, and where they go."""

    start: int
    stop: int
    step: int
    target: int

    @property
    def length(self) -> int:
        return len(range(self.start, self.stop, self.step))


@dataclass(frozen=True)
class View:
    """The lazy prediction of one image (one of its arrays), as an array-like.

    Indexing with ints, slices (with steps) and `...` reads, predicts and stitches just the
    tiles that the result needs, in pieces no larger than a block. Nothing is kept.
    """

    _prediction: Prediction
    _data_idx: int
    _block_shape: tuple[int, ...]
    _output: int = 0

    @property
    def _dimensions(self) -> Dimensions:
        return self._prediction.outputs[self._data_idx][self._output]

    @property
    def name(self) -> str:
        """Of the array, where the model gives several."""
        return self._prediction.stored[self._output].name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._dimensions.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._prediction.dtypes[self._output]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return Region.whole(self.shape).n_voxels

    @property
    def axes(self) -> str:
        """The names of the axes, of STCZYX."""
        return self._dimensions.axes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> NDArray[Any]:
        ranges, dropped, flipped = _normalised(key, self.shape)
        values = self._empty(tuple(map(len, ranges)))
        if values.size:
            workspace = Workspace()  # pieces share the chunks of their halos
            pieces = [self._pieces(axis, r) for axis, r in enumerate(ranges)]
            for box in product(*pieces):
                region = Region(tuple(p.start for p in box), tuple(p.stop for p in box))
                part = predict_region(
                    self._prediction, self._data_idx, region, self._output, workspace
                )
                place = tuple(slice(p.target, p.target + p.length) for p in box)
                values[place] = part[tuple(slice(None, None, p.step) for p in box)]
            # One that was made anew with chunks of the same bytes would be read without a word.
            look_at_all([self._prediction.images[self._data_idx]])
        values = values[tuple(slice(None, None, -1) if f else slice(None) for f in flipped)]
        return values[tuple(0 if d else slice(None) for d in dropped)]

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        if copy is False:
            raise ValueError("A prediction is computed when it is read: it cannot be had uncopied.")
        values = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)

    def __repr__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"<daskpatch.View{name} {self.axes} {self.shape} {self.dtype}>"

    def _repr_html_(self) -> str:
        blocks = tuple(self._edges(axis).step for axis in range(self.ndim))
        rows = [
            ("shape", f"{self.axes} {self.shape}"),
            ("dtype", f"{self.dtype}, {format_bytes(self.size * self.dtype.itemsize)}"),
            ("pieces", f"{blocks}, the most that is computed at a time"),
            ("model", self._prediction.model_name),
        ]
        caption = f"daskpatch view {self.name}".rstrip()
        return html_table(caption, rows, drawing=drawing_of(self.shape, blocks))

    def _empty(self, shape: tuple[int, ...]) -> NDArray[Any]:
        try:
            return np.empty(shape, self.dtype)
        except MemoryError as error:
            raise MemoryError(
                f"{self!r} does not fit memory ({error}); take a part of it, or write it with "
                "plan.run."
            ) from error

    def _pieces(self, axis: int, indices: range) -> list[_Piece]:
        """An axis's indices cut at block edges, and where they step over voxels, at crops."""
        # At block edges, so that no piece takes more memory than a block of a run.
        cuts = sorted({indices[0], *self._cuts(axis, indices), indices[-1] + 1})
        pieces = []
        for begin, end in pairwise(cuts):
            skipped = -(-(begin - indices[0]) // indices.step)
            first = indices[0] + skipped * indices.step
            if first < end:
                last = first + (end - 1 - first) // indices.step * indices.step
                pieces.append(_Piece(first, last + 1, indices.step, skipped))
        return pieces

    def _cuts(self, axis: int, indices: range) -> Iterator[int]:
        start, stop = indices[0], indices[-1] + 1
        edges = self._edges(axis)
        yield from (edge for edge in edges[start // edges.step + 1 :] if edge < stop)
        if indices.step > 1:
            # Between far steps whole tiles may lie that no index touches.
            yield from self._crop_edges(axis, start, stop)

    def _edges(self, axis: int) -> range:
        """Where blocks begin along an axis."""
        grid = block_grid(self._prediction, self._data_idx, self._block_shape)
        outputs = self._prediction.outputs[self._data_idx]
        first, name = outputs[0], self._dimensions.axes[axis]
        count = grid.counts[first.axes.index(name)] if name in first.axes else 1
        if self._output and (name == "C" or count == 1):
            return range(0, self.shape[axis], self.shape[axis])
        size = counterparts(outputs, grid.cell(0))[self._output].shape[axis]
        # Of a coarse array the last block may hold no voxel.
        return range(0, min(count * size, self.shape[axis]), size)

    def _crop_edges(self, axis: int, start: int, stop: int) -> Iterator[int]:
        """Where a new tile begins between `start` and `stop`."""
        dims = self._dimensions
        name = dims.axes[axis]
        if name not in dims.spatial_axes:
            if name != "C":
                yield from range(start + 1, stop)
            return
        sizing = self._prediction.sizings[self._output]
        grid = self._prediction.grids[self._data_idx]
        place = dims.spatial_axes.index(name)
        origin = dims.spatial_origin[place]
        low = [0] * dims.ndim
        high = [1] * dims.ndim
        low[place], high[place] = origin + start, origin + stop
        region = sizing.input_region(Region(tuple(low), tuple(high)))
        for index in touching(grid, region)[place]:
            tile = [a.tile(0) for a in grid.axes]
            tile[place] = grid.axes[place].tile(index)
            edge = sizing.kept(tuple(tile)).start[place] - origin
            if start < edge < stop:
                yield edge


def as_dask(view: View, name: str | None = None) -> Any:
    """The view as a `dask.array.Array`: one task per block; its name is unique where none is given.

    The view, with model and image, is held once in the graph; slices taken directly on the
    array reach it. Where a cluster holds the image, blocks are computed from its chunks, whole.
    """
    import dask.array as da

    chunks = tuple(_sizes(view._edges(axis), size) for axis, size in enumerate(view.shape))
    name = f"daskpatch-{uuid4().hex}" if name is None else name
    held = held_arrays(view._prediction, view._data_idx)
    if held:
        return da.Array(_graph_over(view, held, chunks, name), name, chunks, view.dtype)
    return da.from_array(
        view,
        chunks=chunks,
        name=name,
        asarray=True,
        inline_array=False,
        meta=np.empty((0,) * view.ndim, view.dtype),
    )


def _graph_over(
    view: View, held: Mapping[bool, Any], chunks: tuple[tuple[int, ...], ...], name: str
) -> HighLevelGraph:
    """A task per block, which takes chunks that a cluster holds from the tasks that made them."""
    bare, data_idx, output = without_held(view._prediction), view._data_idx, view._output
    shared = delayed(bare, name=f"{name}-prediction", traverse=False)
    edges = [tuple(pairwise((0, *accumulate(sizes)))) for sizes in chunks]
    layer: dict[Any, Any] = {}
    for index in product(*map(range, map(len, edges))):
        cell = [along[i] for along, i in zip(edges, index, strict=True)]
        region = Region(tuple(start for start, _ in cell), tuple(stop for _, stop in cell))
        needed = held_chunks(bare, data_idx, output, region)
        keys = [(held[chunk.is_of_mask].name, *chunk.position) for chunk in needed]
        call = partial(_predict_block, data_idx=data_idx, output=output, region=region, of=needed)
        layer[name, *index] = (call, shared.key, keys)
    return HighLevelGraph.from_collections(name, layer, dependencies=[shared, *held.values()])


def _predict_block(
    bare: Prediction,
    chunks: Sequence[Any],
    *,
    data_idx: int,
    output: int,
    region: Region,
    of: Sequence[HeldChunk],
) -> NDArray[Any]:
    given = dict(zip(of, chunks, strict=True))
    return predict_with(bare, data_idx, output, region, given)


def _sizes(edges: range, size: int) -> tuple[int, ...]:
    return (edges.step,) * (len(edges) - 1) + (size - edges[-1],)


def _normalised(key: Key, shape: tuple[int, ...]) -> tuple[list[range], list[bool], list[bool]]:
    """Per axis: the indices, ascending; whether the axis is dropped; whether it is reversed."""
    ranges, dropped, flipped = [], [], []
    for entry, size in zip(_expanded(key, len(shape)), shape, strict=True):
        if isinstance(entry, slice):
            indices = range(*entry.indices(size))
            flip = indices.step < 0
            ranges.append(indices[::-1] if flip else indices)
            dropped.append(False)
            flipped.append(flip)
            continue
        index = _as_index(entry, size)
        ranges.append(range(index, index + 1))
        dropped.append(True)
        flipped.append(False)
    return ranges, dropped, flipped


def _expanded(key: Key, ndim: int) -> list[Any]:
    entries = list(key) if isinstance(key, tuple) else [key]
    ellipses = sum(entry is Ellipsis for entry in entries)
    if ellipses > 1:
        raise IndexError("a prediction is indexed with at most one '...'")
    if len(entries) - ellipses > ndim:
        raise IndexError(f"{len(entries) - ellipses} indices for a prediction of {ndim} axes")
    at = next((i for i, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    missing = [slice(None)] * (ndim - len(entries) + ellipses)
    return entries[:at] + missing + entries[at + 1 :]


def _as_index(entry: object, size: int) -> int:
    try:
        index = operator.index(entry)  # type: ignore[arg-type] # asked, not known
    except TypeError:
        raise IndexError(
            f"a prediction is indexed with integers and slices, not with {shown(entry)}; use "
            "plan.array (a Dask array) for more"
        ) from None
    if isinstance(entry, bool | np.bool_):
        raise IndexError("a prediction is indexed with integers and slices, not with booleans")
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range for an axis of {size}")
    return index % size
