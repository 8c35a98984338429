"""What options must agree on: with each other, with the images, and with what the model gives."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisTile, Dimensions, representatives
from ..model import Model, OutputArray, Signature, Sizing, as_augment
from ..output import Layout, Output
from ..patching import TileGrid
from ..support import counted
from ..values import Normalize


def check_values(model: Model, normalize: Normalize, n_channels: int) -> None:
    """Refuse a model of integers for normalised values, and constants for other channels.

    Raises
    ------
    ValueError
        If they don't go together.
    """
    if normalize.kind is not None and model.dtype.kind != "f":
        raise ValueError(
            f"input_dtype is {model.dtype}; normalised values are no integers: give a "
            "dtype of floats."
        )
    if normalize.constants is None:
        return
    n_constants = len(normalize.constants.offset)
    if n_constants not in (1, n_channels):
        raise ValueError(
            f"normalize has {counted(n_constants, 'number')} for "
            f"{counted(n_channels, 'channel')}; give one, or one per channel."
        )


def check_positions(model: Model, sizing: Sizing) -> None:
    """Refuse positions in which a result would not lie where it belongs.

    Raises
    ------
    ValueError
        If flips or turns don't map margins and scales onto themselves.
    """
    margin, augment = sizing.margin, model.augment or ()
    if augment and any(abs(before - behind) > 1 for before, behind in margin):
        raise ValueError(
            f"augment turns tiles around, and the margin {margin} is not the same on both "
            "sides; leave augment= out."
        )
    if "rot90" in augment and (sizing.scale[-1] != sizing.scale[-2] or margin[-1] != margin[-2]):
        raise ValueError(
            f"augment turns Y into X, which have scales {sizing.scale[-2:]} and margins "
            f"{margin[-2:]}; needed are the same. Give augment='flips', or none."
        )


def check_undo(normalize: Normalize, signature: Signature, n_channels: int) -> None:
    """Refuse to map channels back that have no counterpart in the input.

    Raises
    ------
    ValueError
        If each channel was normalised on its own, and the model gives other channels.
    """
    n_maps = n_channels if normalize.per_channel else 1
    if normalize.constants is not None:
        n_maps = len(normalize.constants.offset)
    given = [output.channels for output in signature.outputs]
    if n_maps > 1 and any(channels != n_maps for channels in given):
        raise ValueError(
            f"denormalize is True, and {given} channels cannot be mapped back: {n_maps} were "
            "normalised, each on its own. Normalise them together (normalize_per_channel=False), "
            "or leave denormalize out."
        )


_LOOKED_AT = 1_000_000
"""Values: more would only take memory."""


def warn_of_rounding(patch: NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Warn where integers of the trial tile are others in the dtype that the model is given."""
    # Whoever asks for floats of 16 bits knows that they are few.
    if patch.dtype.kind not in "iu" or dtype.kind != "f" or dtype.itemsize < 4:
        return
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    if int(patch.max()) <= exact and int(patch.min()) >= -exact:
        return
    large = patch[(patch > exact) | (patch < -exact)][:_LOOKED_AT]
    rounded = large[large.astype(dtype).astype(np.longdouble) != large.astype(np.longdouble)]
    if rounded.size:
        warnings.warn(
            f"The source's {patch.dtype} has values such as {rounded[0]:,}, which are others in "
            f"{dtype}, the dtype that the model is given: ids of objects would become those of "
            "others. Give another input_dtype, float64 or an integer one, if they matter.",
            stacklevel=2,
        )


def check_geometry(signature: Signature, grids: Sequence[TileGrid], strategy: str) -> None:
    """Refuse a strategy whose crops the model's results don't cover, or cut through their voxels.

    Raises
    ------
    ValueError
        At the first one.
    """
    for sizing, grid in product(dict.fromkeys(signature.sizings), grids):
        for axis, tiling in enumerate(grid.axes):
            for tile in representatives(tiling):
                _check_tile(sizing, axis, tile, tiling.size, strategy)


def check_averaged(
    model: Model,
    output: Output,
    given: Mapping[str, np.dtype[Any]],
    stored: Sequence[OutputArray],
) -> None:
    """Refuse to average integers, unless it was said that they are quantities.

    `given` are the dtypes of the model's own arrays, `stored` the arrays after `post`.

    Raises
    ------
    ValueError
        If they would be.
    """
    option = averaging(model, output)
    said: Collection[str] = given if output.dtype is not None else ()
    if isinstance(output.dtype, Mapping):
        said = output.dtype.keys()
    integers = {n: dtype.name for n, dtype in given.items() if dtype.kind != "f" and n not in said}
    makes_floats = output.function is not None and all(
        np.dtype(array.dtype).kind == "f" for array in stored
    )
    if option and integers and not makes_floats:
        name, dtype = next(iter(integers.items()))
        kept = next((array.dtype for array in stored if array.name == name), dtype)
        kept = kept if kept != "bool" else "float32"
        example = f"{{{name!r}: {kept!r}}}" if name else repr(kept)
        raise ValueError(
            f"The model gives {dtype}{f' as {name}' if name else ''}, and {option} averages what "
            "it gives: ids of objects and numbers of classes would become others. If they are "
            f"quantities, say in which dtype they are stored (dtype={example}); else let the model "
            f"give scores, of which post= makes labels, or leave {option} out."
        )


def averaging(model: Model, output: Output) -> str:
    """The option by which several results for a voxel are averaged; empty for none."""
    if output.stitch != "crop":
        return f"stitch={output.stitch!r}"
    kinds = as_augment(model.augment)
    return f"augment={kinds[0] if len(kinds) == 1 else kinds!r}" if kinds else ""


def check_channels(dims: Dimensions, layout: Layout) -> None:
    """Refuse blocks that share out the channels of one of several arrays.

    Raises
    ------
    ValueError
        If they do.
    """
    block = layout.block_shape[dims.axes.index("C")]
    if block < dims.n_channels:
        raise ValueError(
            f"block_shape {layout.block_shape} holds {block} of {dims.n_channels} channels; where "
            "the model gives several arrays, a block takes all channels of each."
        )


def _check_tile(sizing: Sizing, axis: int, tile: AxisTile, size: int, strategy: str) -> None:
    scale, (before, behind) = sizing.scale[axis], sizing.margin[axis]
    first, end = tile.start + before, tile.start + tile.size - behind
    if tile.keep_start < first or tile.keep_stop > end:
        raise ValueError(
            f"The model cuts {before} and {behind} voxels off its tiles along spatial axis {axis}: "
            f"of [{tile.start}, {tile.start + tile.size}) it gives [{first}, {end}), and the "
            f"{strategy} keeps [{tile.keep_start}, {tile.keep_stop}). Give patch_size and overlaps "
            "instead of patching, or an AlignedPatching with this margin."
        )
    edges = [first, tile.keep_start, *([tile.keep_stop] if tile.keep_stop < size else [])]
    if any((edge * scale).denominator > 1 for edge in edges):
        raise ValueError(
            f"The model gives {scale} voxels per voxel along spatial axis {axis}: tiles and their "
            f"crops must begin on multiples of {scale.denominator}, and one of the {strategy} "
            f"begins at {first} and keeps [{tile.keep_start}, {tile.keep_stop}). Give "
            f"align={scale.denominator}, or patch_size and overlaps instead of patching."
        )
