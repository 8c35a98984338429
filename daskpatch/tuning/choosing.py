"""Tile, overlap and batch left to "auto": chosen from a probe of the model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..deciding import Candidate, Choice, PlanOptions, as_stored, is_auto, makes_ome
from ..image import ImageStack, dimensions_of
from ..output import Target, per_axis
from ..probing import Probe
from .search import Search

_SHOWN = 5
"""Alternatives that are told of."""


def choose(
    options: PlanOptions, images: Sequence[ImageStack], known: Probe, target: Target | None
) -> tuple[PlanOptions, Choice]:
    """The options with the tiling of the fastest run, and what else there was.

    Raises
    ------
    ValueError
        If sizes are to be chosen for a strategy that has its own, or nothing fits the model.
    MemoryError
        If no tiling fits memory.
    """
    tiles = options.tiles
    if tiles.patching is not None:
        raise ValueError(
            "batch_size 'auto' goes with patch_size, not with patching: give batch_size a number."
        )
    search = Search(
        replace(options, tiles=tiles.with_probe(known)),
        tuple(images),
        known,
        _write_units(options, images, known, target),
    )
    found = sorted(search.candidates(), key=lambda candidate: candidate.seconds)
    fitting = [candidate for candidate in found if not candidate.reason]
    if not fitting:
        if not found:
            raise ValueError(
                f"No tile fits: patch_size is {tiles.patch_size!r}, overlaps are "
                f"{tiles.wanted_overlaps!r}, and {known.name} has a halo of {known.halo} voxels on "
                f"multiples of {search.grid}, with tiles of {known.min_size} at least. Leave more "
                "of them to 'auto', or give tiles larger than their overlaps."
            )
        least = min(found, key=lambda candidate: candidate.model_memory)
        raise MemoryError(
            f"No tiling fits the memory_limit; the least that was found: {least}. Raise it, or "
            "lower threads or batch_size."
        )
    chosen = fitting[0]
    rejected = tuple(_best_of_others(chosen, found))
    spans = all(n <= size for n, size in zip(search.shape, chosen.patch_size, strict=True))
    is_ours = is_auto(tiles.wanted_overlaps) and not spans
    if is_ours and not known.tells_exact_tiles:  # a call of predict shows no plan
        warnings.warn(f"{known.name}: {known.advice}", stacklevel=2)
    decided = tiles.decided(chosen.patch_size, chosen.overlaps, chosen.batch_size)
    return replace(options, tiles=decided), Choice(chosen, search.why, rejected)


def _best_of_others(chosen: Candidate, found: Sequence[Candidate]) -> Iterator[Candidate]:
    """The best of the others, one for each size of tile that is clearly another."""
    seen = [math.prod(chosen.patch_size)]
    for option in found:
        voxels = math.prod(option.patch_size)
        if option is chosen or any(0.6 < voxels / other < 1.6 for other in seen):
            continue
        seen.append(voxels)
        slower = option.seconds / chosen.seconds
        yield option if option.reason else replace(option, reason=f"{slower:.2f} times the time")
        if len(seen) > _SHOWN:
            return


def _write_units(
    options: PlanOptions, images: Sequence[ImageStack], known: Probe, target: Target | None
) -> tuple[int, ...] | None:
    """Voxels of the input per write unit, per spatial axis, where they are given."""
    sizes: Any = options.output.shards or options.output.chunks
    if target is not None and target.array is not None:
        sizes = target.array.shards or target.array.chunks
    if sizes is None:
        return None
    image, shape = images[0], images[0].data_shape[2:]
    made = tuple(math.ceil(n * scale) for n, scale in zip(shape, known.scale, strict=True))
    output = dimensions_of(image).predicted(known.out_channels, made)
    is_ome = makes_ome(options.output, images, target)
    output = as_stored(output, options.output, is_ome=is_ome)
    has_post = options.output.post is not None
    if has_post and not isinstance(sizes, int) and len(sizes) != len(output.axes):
        return None  # post may add or drop channels; what does not fit is refused later
    own = output.spatial_entries(per_axis("chunks or shards", sizes, output))
    units = (
        math.ceil(unit / scale) if unit < n * scale else 0
        for unit, scale, n in zip(own, known.scale, shape, strict=True)
    )
    return tuple(units)
