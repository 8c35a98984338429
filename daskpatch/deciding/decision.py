"""From what the trial showed to what is decided: arrays, layout, cost, memory, threads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..block import Assembly, Recipe
from ..geometry import Dimensions
from ..image import ImageStack, back_end_of, dimensions_of, is_chunked, with_io
from ..model import OutputArray, Signature, Sizing
from ..output import (
    BlockBudget,
    DTypes,
    KnownLevels,
    Output,
    Target,
    check_fill,
    check_labels_made,
    in_order,
    masks_of,
    wanted_version,
)
from ..statistics import box_voxels, bytes_needed
from ..store import BackEnd, back_end_at
from ..support import as_dtype, counted, narrowed_to, shown
from .agreement import check_averaged
from .box import part_of, with_plain_box
from .choice import Choice
from .cost import cost_of
from .decided import Decided
from .empty_criterion import emptiness_of
from .first_look import FirstLook
from .identity import Identity, identify
from .layouts import layout_with_levels
from .memory import check_chunks, check_memory, memory_of, stitched_bytes
from .plan_options import PlanOptions
from .strategy import Tiling
from .trial import Trial


def decide(
    options: PlanOptions,
    images: tuple[ImageStack, ...],
    tiling: Tiling,
    *,
    target: Target | None,
    choice: Choice | None,
    identity: Identity | None,
    levels: KnownLevels | None = None,
) -> Decided:
    """Layout, cost and memory, from what the trial showed. Costs the same at any size.

    `levels` are those that a run began with; else they are chosen.

    Raises
    ------
    ValueError
        If options don't fit the output.
    MemoryError
        If the peak is above the limit; the knob to turn is named.
    """
    trial = tiling.trial
    options = replace(options, output=with_plain_box(options.output, images))
    recipe = _recipe(options, images, tiling, target)
    check_averaged(options.model, options.output, trial.given, recipe.stored)
    is_ome = makes_ome(options.output, images, target)
    _check_names(options.output, recipe, is_ome=is_ome)
    back_end = _back_end(images, target, options.limits.io)
    limit, threads = options.limits.nbytes, options.limits.n_threads
    while True:
        budget = _budget(recipe, trial, limit, threads)
        layout, pyramid = layout_with_levels(
            options.output, recipe, target, budget, is_ome=is_ome, known=levels
        )
        memory = memory_of(
            recipe,
            layout,
            threads=threads,
            calls=trial.memory,
            levels=pyramid.bytes_per_thread,
            fused=pyramid.bytes_fused,
            statistics=_statistics_bytes(recipe, limit, threads),
            limits=options.limits,
        )
        # Fewer threads before smaller blocks: those read and compute their edges more often.
        if memory.peak <= limit or threads == 1 or options.limits.threads is not None:
            break
        threads = max(threads // 2, 1)
    check_memory(memory, limit, "the memory_limit")
    if target is not None:
        # Here, not when it is created: then something would have been written already.
        target.check_layout(layout)
    return Decided(
        options=_filled(options, trial.signature),
        recipe=recipe,
        layout=layout,
        pyramid=pyramid,
        memory=memory,
        cost=cost_of(recipe, layout.block_shape),
        tiling=tiling,
        target=target,
        choice=choice,
        back_end=back_end,
        identity=identity,
    )


def decide_anew(
    decided: Decided,
    options: PlanOptions,
    target: Target | None,
    *,
    levels: KnownLevels | None = None,
) -> Decided:
    """The same, for another output or other limits: the trial holds.

    `levels` are those that a run began with. Nothing is read, unless it is the first output: then
    model and trial tile are looked at again.
    """
    images = decided.recipe.images
    if options.limits.io != decided.options.limits.io:
        images = with_io(images, options.limits.io)
    identity = decided.identity
    if identity is None and target is not None:
        look = FirstLook.of(options, target)
        identity = identify(options, images, decided.tiling, look)
    return decide(
        options,
        images,
        decided.tiling,
        target=target,
        choice=decided.choice,
        identity=identity,
        levels=levels,
    )


def _filled(options: PlanOptions, signature: Signature) -> PlanOptions:
    """Options with what the trial found, where that matters to a later run."""
    # Of arrays of different sizes neither option could tell: a later run looks again.
    is_told = signature.is_of_one_size and not signature.keeps_size
    scale, margin = (signature.scale, signature.margin) if is_told else (None, None)
    if (options.model.scale, options.model.margin) == (scale, margin):
        return options
    return replace(options, model=replace(options.model, scale=scale, margin=margin))


def _recipe(
    options: PlanOptions, images: tuple[ImageStack, ...], tiling: Tiling, target: Target | None
) -> Recipe:
    trial = tiling.trial
    stored = _stored(options.output.dtype, target, trial)
    check_fill(options.output, stored)
    if options.output.label_image is not None:
        check_labels_made(stored, options.output.label_image)
    masks = masks_of(options.output, images)
    check_chunks([mask.image for mask in masks], options.limits, "mask")
    batch_size = options.tiles.batch_size
    assert not isinstance(batch_size, str), "chosen by now"
    return Recipe(
        images=images,
        grids=tiling.grids,
        model=options.model.shared,
        signature=trial.signature,
        stored=stored,
        outputs=_outputs(options.output, images, trial.signature, stored, target),
        input_dtype=options.model.dtype,
        batch_size=batch_size,
        assembly=narrowed_to(Assembly, options.output),
        positions=options.model.positions(len(trial.tile_shape)),
        made=() if options.output.function is None else trial.stored,
        normalize=options.normalize,
        emptiness=emptiness_of(options.output, images),
        masks=masks,
        fill=options.output.fill,
    )


def makes_ome(output: Output, images: Sequence[ImageStack], target: Target | None) -> bool:
    """Whether an image of OME-Zarr is made, whose axes are in its own order."""
    version = wanted_version(output, images, None) if target is None else target.ome
    return version is not None


def as_stored(dims: Dimensions, output: Output, *, is_ome: bool) -> Dimensions:
    """The dimensions of a prediction as they are stored."""
    return in_order(dims, is_label=output.label_image is not None) if is_ome else dims


def _check_names(output: Output, recipe: Recipe, *, is_ome: bool) -> None:
    """Refuse names of channels that the output has not.

    Raises
    ------
    ValueError
        If there are others than channels, or no place for them.
    """
    if output.channel_names is None:
        return
    names = output.channel_names
    counts = {dims.n_channels for dims in recipe.outputs[0] if "C" in dims.axes}
    if not is_ome:
        raise ValueError(
            f"channel_names is {shown(names)}, and the output is a bare array, which has no place "
            "for them; give ome=True, or leave them out."
        )
    if not counts:
        raise ValueError(
            f"channel_names is {shown(names)}, and the output has no channels, as the source: its "
            f"axes are {recipe.outputs[0][0].axes}. Leave them out."
        )
    if len(names) not in counts:
        raise ValueError(
            f"channel_names is {shown(names)}, {counted(len(names), 'name')}; the output has "
            f"{' or '.join(map(str, sorted(counts)))} channels."
        )


def _outputs(
    output: Output,
    images: tuple[ImageStack, ...],
    signature: Signature,
    stored: tuple[OutputArray, ...],
    target: Target | None,
) -> tuple[tuple[Dimensions, ...], ...]:
    """Per image, the dimensions of each array that is stored: of the box, where one is given."""
    is_ome = makes_ome(output, images, target)  # once: it looks at all images

    def of(image: ImageStack, array: OutputArray, sizing: Sizing) -> Dimensions:
        size = sizing.output_shape(tuple(image.data_shape[2:]))
        source = dimensions_of(image)
        made = source.predicted(array.channels, size, sizing.scale)
        return part_of(as_stored(made, output, is_ome=is_ome), output, source, sizing)

    each = list(zip(stored, signature.sizings_of(len(stored)), strict=True))
    return tuple(tuple(of(image, *one) for one in each) for image in images)


def _statistics_bytes(recipe: Recipe, limit: int, threads: int) -> int:
    """What the pass over the images takes, where values are normalised by what they are like."""
    if not recipe.normalize.measures:
        return 0
    voxels = box_voxels(limit, threads)
    return bytes_needed(recipe.images, recipe.normalize, voxels=voxels, threads=threads)


def _stored(dtype: DTypes | None, target: Target | None, trial: Trial) -> tuple[OutputArray, ...]:
    """What is stored: in the dtype that was asked for, or an existing array's, or as it comes.

    `dtype` is one for all arrays, or some by name.

    Raises
    ------
    ValueError
        If it names no array, or is not that of an existing array.
    """
    by_name: dict[str, Any] = dict(dtype) if isinstance(dtype, Mapping) else {}
    names = [output.name for output in trial.stored]
    if unknown := [name for name in by_name if name not in names]:
        given = ", ".join(map(repr, names)) if names != [""] else "one array: give its dtype alone"
        raise ValueError(f"dtype names {', '.join(map(repr, unknown))}; the model gives {given}.")
    if target is not None and target.array is not None:
        return _as_existing(by_name.get("", None if by_name else dtype), target, trial)
    wanted = {name: by_name.get(name, None if by_name else dtype) for name in names}
    return tuple(
        output
        if wanted[output.name] is None
        else replace(output, dtype=as_dtype("dtype", wanted[output.name]).name)
        for output in trial.stored
    )


def _as_existing(dtype: DTypes | None, target: Target, trial: Trial) -> tuple[OutputArray, ...]:
    assert target.array is not None
    if len(trial.stored) > 1:
        names = ", ".join(output.name for output in trial.stored)
        raise ValueError(
            f"The model gives several arrays ({names}), which are written to a group; give a path, "
            "a URL or a store as output, not an array."
        )
    existing = target.array.dtype
    if dtype is not None and as_dtype("dtype", dtype) != existing:
        raise ValueError(
            f"dtype is {dtype}, the output array {target.name} has {existing}; leave dtype= out."
        )
    return (replace(trial.stored[0], dtype=existing.name),)


def _budget(recipe: Recipe, trial: Trial, limit: int, threads: int) -> BlockBudget:
    """What a block may take: half of a thread's share of the memory."""
    largest = max(image.data_dtype.itemsize for image in recipe.images)
    scale = float(math.prod(recipe.signature.scale))
    channels = recipe.stored[0].channels
    stored = 2.0 * recipe.stored_itemsize + float(stitched_bytes(recipe) / channels)
    return BlockBudget(
        seconds_per_voxel=trial.seconds / math.prod(trial.tile_shape) / scale / channels,
        bytes_per_voxel=stored + largest / scale,
        bytes_per_thread=limit / 2 / threads,
        threads=threads,
        has_cache=is_chunked(recipe.images[0]),
        shared=_shared(recipe),
    )


def _shared(recipe: Recipe) -> tuple[int, ...]:
    """Output voxels per axis that blended blocks compute beyond their own: whole tiles."""
    if not recipe.assembly.blends:
        return (0,) * len(recipe.signature.scale)
    grid = recipe.grids[len(recipe.grids) // 2]
    middle = tuple(grid.tiles([n // 2 for n in grid.counts]))
    overlap = recipe.signature.finest.overlap(middle, grid.step)
    step = recipe.signature.finest.output_shape(grid.step)
    return tuple(-(-o // s) * s for o, s in zip(overlap, step, strict=True))


def _back_end(images: tuple[ImageStack, ...], target: Target | None, io: str) -> BackEnd:
    """The back end that reads the first image; where it is no Zarr array, the one that writes."""
    reading = back_end_of(images[0])
    if reading is not None:
        return reading
    return back_end_at(io, None if target is None else target.location)
