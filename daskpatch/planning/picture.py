"""A plan as a picture: tiles, crops, blocks and chunks over a section of the image."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

from ..block import block_grid
from ..deciding import Decided
from ..geometry import AxisTile, AxisTiling, Dimensions, Region
from ..support import is_integer, load_extra, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Interval = tuple[int, int]

_LARGEST = 1024
"""Voxels along an axis that are read and drawn."""

_LONGEST = 12
"""Times as long as wide a section is that is drawn in proportion; a longer one is a mere line."""

_TILES = 3
"""Tiles along an axis that are drawn at least, where there are as many."""

_MOST = 24
"""And at most: more could not be told apart."""


def picture_of(decided: Decided, data_idx: int) -> Any:
    """The middle of the middle section of an image, as a matplotlib figure.

    Raises
    ------
    ValueError
        If there is no such image.
    """
    recipe = decided.recipe
    if not (is_integer(data_idx) and 0 <= data_idx < len(recipe.images)):
        raise ValueError(
            f"data_idx is {shown(data_idx)}; needed is the index of an image, from 0 to "
            f"{len(recipe.images) - 1}."
        )
    image, grid, dims = recipe.images[data_idx], recipe.grids[data_idx], recipe.outputs[data_idx][0]
    _, *shape = recipe.covered(data_idx)
    corner = [
        _to_input(n, s) for n, s in zip(dims.spatial_origin, recipe.signature.scale, strict=True)
    ]
    blocks = dims.spatial_entries(decided.layout.block_shape)
    window = [
        _middle(n, min(max(2 * _to_input(block, scale), _TILES * along.step), _MOST * along.step))
        for n, block, scale, along in zip(
            shape, blocks, recipe.signature.scale, grid.axes, strict=True
        )
    ]
    window[:-2] = [(n // 2, n // 2 + 1) for n in shape[:-2]]
    window = [(a + at, b + at) for (a, b), at in zip(window, corner, strict=True)]
    sample_idx = _middle_sample(dims)
    voxels = image.extract_patch(
        sample_idx, [0], [a for a, _ in window], [b - a for a, b in window]
    )
    figure = load_extra("matplotlib.figure", "Plan.plot").Figure(
        figsize=(8, 7), layout="constrained"
    )
    axes = figure.subplots()
    (top, bottom), (left, right) = rows, columns = window[-2:]
    section = voxels.reshape(voxels.shape[-2:])
    is_strip = max(section.shape) > _LONGEST * min(section.shape)
    aspect = "auto" if is_strip else "equal"
    axes.imshow(section, cmap="gray", extent=(left, right, bottom, top), aspect=aspect)
    _draw_tiles(axes, grid.axes[-2], grid.axes[-1], rows, columns, blends=recipe.assembly.blends)
    _draw_lines(axes, _edges(decided, data_idx, decided.layout.chunks), rows, columns, _CHUNKS)
    _draw_lines(axes, _block_edges(decided, data_idx), rows, columns, _BLOCKS)
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="X (voxels)", ylabel="Y (voxels)")
    axes.locator_params(integer=True)
    n_samples, n_channels, *_ = image.data_shape
    where = [
        *([f"sample {sample_idx}"] if n_samples > 1 else []),
        *(["channel 0"] if n_channels > 1 else []),
        *([f"Z {window[0][0]}"] if len(window) == 3 else []),
        *(f"{name} {a}:{b}" for name, (a, b) in zip("YX", window[-2:], strict=True)),
    ]
    title = f"{image.source}: {', '.join(where)}"
    axes.set_title(title, fontsize="medium", parse_math=False)  # a path may hold dollars
    handles = _legend(blends=recipe.assembly.blends)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    return figure


_TILE = {"edgecolor": "tab:cyan", "facecolor": "none", "lw": 0.8, "ls": "--"}
_MARKED = {"edgecolor": "tab:orange", "facecolor": "none", "lw": 2}
_CROP = {"edgecolor": "none", "facecolor": "tab:orange", "alpha": 0.35}
_BLOCKS = {"color": "tab:red", "lw": 2.2}
_CHUNKS = {"color": "yellowgreen", "lw": 1.0, "ls": ":"}


def _middle(size: int, wanted: int) -> Interval:
    length = min(size, wanted, _LARGEST)
    start = (size - length) // 2
    return start, start + length


def _middle_sample(dims: Dimensions) -> int:
    """The sample in the middle of what is predicted, counted in the image."""
    middle = tuple(n // 2 for n in dims.shape)
    ((sample_idx, _),) = dims.samples_of(Region(middle, tuple(n + 1 for n in middle)))
    return sample_idx


def _to_input(n: int, scale: Fraction) -> int:
    """The place in the input of a voxel of the output."""
    return n * scale.denominator // scale.numerator


def _draw_tiles(
    axes: Axes,
    down: AxisTiling,
    across: AxisTiling,
    rows: Interval,
    columns: Interval,
    *,
    blends: bool,
) -> None:
    """Outlines of the tiles whose crops are in the window; of the middle one its crop, too.

    Blended tiles are kept whole.
    """
    indices = down.touching(*rows), across.touching(*columns)
    middle = tuple(along[len(along) // 2] for along in indices)
    for at in product(*indices):
        _draw_box(axes, *_extents(down.tile(at[0]), across.tile(at[1])), _TILE)
    one, other = down.tile(middle[0]), across.tile(middle[1])
    if not blends:
        _draw_box(axes, (one.keep_start, one.keep_stop), (other.keep_start, other.keep_stop), _CROP)
    _draw_box(axes, *_extents(one, other), _MARKED)


def _extents(down: AxisTile, across: AxisTile) -> tuple[Interval, Interval]:
    return (down.start, down.start + down.size), (across.start, across.start + across.size)


def _draw_box(axes: Axes, rows: Interval, columns: Interval, style: dict[str, Any]) -> None:
    patches = load_extra("matplotlib.patches", "Plan.plot")
    (top, bottom), (left, right) = rows, columns
    axes.add_patch(patches.Rectangle((left, top), right - left, bottom - top, **style))


def _block_edges(decided: Decided, data_idx: int) -> tuple[list[int], list[int]]:
    dims, scale = decided.recipe.outputs[data_idx][0], decided.recipe.signature.scale
    grid = block_grid(decided.recipe, data_idx, decided.layout.block_shape)
    down, across = (dims.axes.index(name) for name in "YX")
    rows, columns = (
        [_to_input(at + grid.along(axis, i)[0], s) for i in range(grid.counts[axis])]
        for axis, s, at in zip((down, across), scale[-2:], dims.spatial_origin[-2:], strict=True)
    )
    return rows, columns


def _edges(decided: Decided, data_idx: int, sizes: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Where pieces of some sizes begin along Y and X, in voxels of the input."""
    dims: Dimensions = decided.recipe.outputs[data_idx][0]
    scale = decided.recipe.signature.scale
    rows, columns = (
        [_to_input(at + i, s) for i in range(0, dims.shape[axis], sizes[axis])]
        for axis, s, at in zip(
            map(dims.axes.index, "YX"), scale[-2:], dims.spatial_origin[-2:], strict=True
        )
    )
    return rows, columns


def _draw_lines(
    axes: Axes,
    edges: tuple[list[int], list[int]],
    rows: Interval,
    columns: Interval,
    style: dict[str, Any],
) -> None:
    down, across = edges
    axes.hlines([e for e in down if rows[0] <= e <= rows[1]], *columns, **style)
    axes.vlines([e for e in across if columns[0] <= e <= columns[1]], *rows, **style)


def _legend(*, blends: bool) -> list[Any]:
    patches = load_extra("matplotlib.patches", "Plan.plot")
    lines = load_extra("matplotlib.lines", "Plan.plot")
    return [
        patches.Patch(label="tiles", **_TILE),
        patches.Patch(label="one of them", **_MARKED),
        *([] if blends else [patches.Patch(label="what is kept of it", **_CROP)]),
        lines.Line2D([], [], label="blocks: a task, and a write", **_BLOCKS),
        lines.Line2D([], [], label="chunks of the output", **_CHUNKS),
    ]
