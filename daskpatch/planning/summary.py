"""What was decided, as text, HTML and JSON."""

from __future__ import annotations

from typing import Any

from dask.utils import format_bytes, format_time

from ..block import block_grid
from ..deciding import Decided
from ..image import drawing_of, is_unlisted, ome_version_of
from ..model import Signature
from ..output import Target
from ..support import Options, counted, declarations, html_table, text_table, without_secrets
from .figures import Figures

Rows = list[tuple[str, str]]


def as_dict(plan: Figures, decided: Decided) -> dict[str, Any]:
    """The figures of a plan, ready for JSON."""
    recipe, target = decided.recipe, decided.target
    return {
        "source": [without_secrets(image.source) for image in plan.images],
        "box": decided.options.output.box_ends,
        "output": None if target is None else target.name,
        "shape": [list(dims.shape) for dims in plan.outputs],
        "axes": plan.outputs[0].axes,
        "dtype": str(plan.dtype),
        "outputs": [
            {"name": output.name, "shape": list(dims.shape), "dtype": output.dtype}
            for output, dims in zip(recipe.stored, recipe.outputs[0], strict=True)
        ],
        "patch_size": list(plan.tile_shape),
        "batch_size": recipe.batch_size,
        "stitch": recipe.assembly.stitch,
        "augment": list(decided.options.model.augment or ()),
        "normalize": None if recipe.normalize.kind is None else str(recipe.normalize),
        "choice": None if plan.choice is None else plan.choice.to_dict(),
        "n_tiles": plan.n_tiles,
        "n_blocks": plan.n_blocks,
        "n_tasks": plan.n_tasks,
        "block_shape": list(plan.block_shape),
        "chunks": list(plan.chunks),
        "shards": None if plan.shards is None else list(plan.shards),
        "bytes_in": plan.bytes_in,
        "bytes_out": plan.bytes_out,
        "read_ratio": plan.read_ratio,
        "fetches_per_chunk": plan.fetches_per_chunk,
        "blocks_ahead": plan.blocks_ahead,
        "chunks_kept": plan.memory.chunks,
        "compute_ratio": plan.compute_ratio,
        "levels": [
            [list(level.outputs[0].shape) for level in levels] for levels in decided.pyramid.images
        ],
        "downsample": list(decided.pyramid.methods) if decided.pyramid.n_levels else None,
        "peak_memory": plan.peak_memory,
        "threads": plan.threads,
        "reading_seconds": plan.reading_seconds,
        "model_seconds": plan.model_seconds,
        "writing_seconds": plan.writing_seconds,
        "bound_by": plan.bound_by,
        "io": plan.io,
    }


def rows_of(plan: Figures, decided: Decided) -> Rows:
    """What a plan says, line by line."""
    target = decided.target
    return [
        *_source(plan, decided),
        ("output", _place(target) if target else "none: the lazy array alone"),
        *_alone(target),
        *_bare(plan, decided),
        *_arrays(plan, decided),
        *_levels(decided),
        *_read_back(plan, target),
        *_model(plan, decided),
        ("tiles", f"{plan.n_tiles:,} of {plan.tile_shape}, one every {plan.step}"),
        ("", f"{plan.compute_ratio:.2f} voxels computed per voxel kept{_at_edges(plan)}"),
        *_choice(plan),
        ("blocks", f"{plan.n_blocks:,} of {plan.block_shape}, one write and one receipt each"),
        (
            "data",
            f"{format_bytes(plan.bytes_in)} in, {format_bytes(plan.bytes_out)} out ({plan.io})",
        ),
        *_reading(plan),
        (
            "memory",
            f"{format_bytes(plan.peak_memory)} at the peak of a worker of "
            f"{counted(plan.threads, 'thread')}",
        ),
        *_time(plan, has_output=target is not None),
    ]


def _source(plan: Figures, decided: Decided) -> Rows:
    first, box = plan.images[0], decided.options.output.box_ends
    more = f" and {len(plan.images) - 1} more" if len(plan.images) > 1 else ""
    return [
        ("source", f"{without_secrets(first.source)}{more}"),
        ("", f"{first.original_axes} {first.original_data_shape}, {first.data_dtype}"),
        *([] if box is None else [("", f"of which {', '.join(f'{a}:{b}' for a, b in box)}")]),
    ]


def _arrays(plan: Figures, decided: Decided) -> Rows:
    """A line for each array of an image; chunks of those of other sizes are others."""
    recipe, outputs = decided.recipe, decided.recipe.outputs[0]
    each = " each its own" if len(plan.images) > 1 else ""
    rows: Rows = []
    layouts = decided.layout.of_each(outputs)
    for output, dims, layout in zip(recipe.stored, outputs, layouts, strict=True):
        name = f"{output.name}: " if output.name else ""
        told = ""
        if not rows or not recipe.signature.is_of_one_size:
            shards = "" if layout.shards is None else f" in shards {layout.shards}"
            told = f", chunks {layout.chunks}{shards}"
        rows.append(("", f"{name}{dims.axes} {dims.shape}{each}, {output.dtype}{told}"))
    return rows


def _reading(plan: Figures) -> Rows:
    """How often chunks are fetched, and what is kept of them; of sources without, bytes read."""
    kept = plan.memory.chunks
    if not kept:
        return [("reading", f"{plan.read_ratio:.2f} bytes read per byte needed")]
    n_times, ahead = plan.fetches_per_chunk, plan.blocks_ahead
    # A thread that is late finds chunks gone that others were done with.
    once = "once" if plan.threads == 1 else "about once"
    times = once if n_times < 1.005 else f"up to {n_times:.2f} times"
    lines = [f"each chunk is fetched {times}; {format_bytes(kept)} of them kept"]
    if ahead:
        lines[0] += f", for up to {counted(ahead, 'block')} ahead"
    if n_times > 1.05:
        lines.append("more memory for them (cache=) spares reads")
    return _named("reading", lines)


def _time(plan: Figures, *, has_output: bool) -> Rows:
    """What takes how long, as the trial showed, and which of it the most."""
    parts = [
        f"{format_time(plan.reading_seconds)} in reading",
        f"{format_time(plan.model_seconds)} in the model",
        *([f"{format_time(plan.writing_seconds)} in encoding"] if has_output else []),
    ]
    told = f"about {', '.join(parts)}, with {counted(plan.threads, 'thread')}"
    bounds = {"reading": "reading", "model": "the model", "writing": "encoding"}[plan.bound_by]
    return _named("time", [told, f"{bounds} takes most of it"])


def _levels(decided: Decided) -> Rows:
    """The levels beside full resolution, of the image that has most of them."""
    pyramid = decided.pyramid
    if not pyramid.n_levels:
        return []
    levels = max(pyramid.images, key=len)
    shapes = ", ".join(str(level.outputs[0].shape) for level in levels)
    methods = " and ".join(dict.fromkeys(pyramid.methods))
    recipe = decided.recipe
    each = "" if recipe.signature.is_of_one_size else f" (of {recipe.stored[0].name})"
    each += " for the image that has most" if len(pyramid.images) > 1 else ""
    n_fused = sum(level.is_fused for level in levels)
    told = [f"{len(levels)} more{each}: {shapes}; {methods}"]
    if n_fused:
        some = "the first" if n_fused == 1 else f"the first {n_fused}"
        which = "all" if n_fused == len(levels) else some
        told.append(f"{which} made with full resolution, block by block")
    if pyramid.bytes_read:
        later = "the others afterwards" if n_fused else "after full resolution is done"
        told.append(f"{later}: {format_bytes(pyramid.bytes_read)} are read again")
    return _named("levels", told)


def _read_back(plan: Figures, target: Target | None) -> Rows:
    if target is None or not target.is_lossy:
        return []
    size = format_bytes(plan.bytes_out)
    return [("", f"its codecs round: each block is read back for its receipt, {size} more")]


def _model(plan: Figures, decided: Decided) -> Rows:
    """The model, and what happens before and after it: as the options say it themselves."""
    signature = plan.signature
    lines = [f"{plan.model_name}, {_channels(signature)} out"]
    if not signature.keeps_size:
        lines += _sizes(signature)
    options, identity = decided.options, decided.identity
    for value in (options.normalize, options.model, options.output):
        lines += _said(value, len(signature.scale))
    if identity is not None and identity.results is None:
        lines.append(
            "gives other values when it is called again: they cannot tell it from another model"
        )
    unlisted = [i.source for i in plan.images if decided.recipe.emptiness and is_unlisted(i)]
    if unlisted:
        lines.append(f"found as they are read: {unlisted[0]} cannot be listed")
    return _named("model", lines)


def _channels(signature: Signature) -> str:
    """How many there are of each array."""
    *others, last = (output.channels for output in signature.outputs)
    if others and set(others) == {last}:
        return f"{counted(1 + len(others), 'array')} of {counted(last, 'channel')}"
    return "".join(f"{n} and " for n in others) + counted(last, "channel")


def _sizes(signature: Signature) -> list[str]:
    """How large the results are; of each array, where they differ."""
    of_one, lines = signature.is_of_one_size, []
    for output, sizing in list(zip(signature.outputs, signature.sizings, strict=True)):
        scale = ", ".join(map(str, sizing.scale))
        cut = f", margins {sizing.margin} cut off its tiles" if sizing.cuts else ""
        lines.append(f"{'' if of_one else output.name + ': '}{scale} voxels out per voxel in{cut}")
    return lines[:1] if of_one else lines


def _said(value: Options, ndim: int) -> list[str]:
    """What options say of themselves."""
    told = (declared.say for declared in declarations(type(value)).values())
    return [line for say in told if say is not None and (line := say(value, ndim))]


def _named(name: str, lines: list[str]) -> Rows:
    """Lines under one name."""
    return [(name if number == 0 else "", line) for number, line in enumerate(lines)]


def _at_edges(plan: Figures) -> str:
    """What blocks compute twice, because tiles reach over their edges."""
    excess = plan.compute_ratio / plan.tile_ratio
    if excess <= 1.005:
        return ""
    return f", {excess:.2f} times the tiles' own: some at the blocks' edges are computed twice"


def _choice(plan: Figures) -> Rows:
    if plan.choice is None:
        return []
    # What it takes, the plan says below, as the trial showed it.
    lines = [f"chosen: {plan.choice.chosen.tiling}", f"for {plan.choice.why}"]
    lines += [f"rejected: {candidate}" for candidate in plan.choice.rejected[:3]]
    return _named("auto", lines)


def as_text(plan: Figures, decided: Decided) -> str:
    """A plan for the terminal."""
    return text_table("<daskpatch.Plan>", rows_of(plan, decided), 8)


def _place(target: Target) -> str:
    what = "" if target.label_image is None else ", a label image"
    return target.name if target.ome is None else f"{target.name} (OME-Zarr {target.ome}{what})"


def _alone(target: Target | None) -> Rows:
    """Of a label image in no image, which viewers are told of by nothing."""
    if target is None or None not in target.n_levels:
        return []
    return [("", "in a group that is no image: viewers open the label image itself")]


def _bare(plan: Figures, decided: Decided) -> Rows:
    """Of what would be an OME-Zarr image, as its source is, if that had no axis S."""
    target = decided.target
    is_asked = decided.options.output.ome is not None or (target is not None and target.ome)
    is_ome = any(ome_version_of(image) is not None for image in plan.images)
    if target is None or is_asked or not (is_ome and "S" in plan.images[0].original_axes):
        return []
    return [("", "a bare array, without scale or levels: samples (S) have no place in OME-Zarr")]


def as_html(plan: Figures, decided: Decided) -> str:
    """A plan for a notebook: with the first output, cut into its blocks."""
    grid = block_grid(decided.recipe, 0, plan.block_shape)
    sizes = [grid.sizes(axis) for axis in range(len(grid.shape))]
    drawing = drawing_of(plan.outputs[0].shape, sizes)
    return html_table("daskpatch plan", rows_of(plan, decided), drawing=drawing)
