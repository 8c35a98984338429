"""A plan as text, HTML and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask.utils import format_bytes, format_time

from ..store import without_secrets
from ..support import html_table, text_table

if TYPE_CHECKING:
    from .plan import Plan


def as_dict(plan: Plan) -> dict[str, Any]:
    """The figures of a plan, ready for JSON."""
    return {
        "source": [without_secrets(image.source) for image in plan.images],
        "output": None if plan.target is None else plan.target.name,
        "shape": [list(dims.shape) for dims in plan.outputs],
        "axes": plan.outputs[0].axes,
        "dtype": str(plan.dtype),
        "outputs": [
            {"name": output.name, "shape": list(dims.shape), "dtype": output.dtype}
            for output, dims in zip(plan.prediction.stored, plan.prediction.outputs[0], strict=True)
        ],
        "patch_size": list(plan.tile_shape),
        "batch_size": plan.prediction.batch_size,
        "stitch": plan.prediction.stitch,
        "augment": list(plan.treatment.augment),
        "normalize": None
        if plan.treatment.normalization is None
        else str(plan.treatment.normalization),
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
        "compute_ratio": plan.compute_ratio,
        "peak_memory": plan.peak_memory,
        "threads": plan.threads,
        "model_seconds": plan.model_seconds,
        "io": plan.io,
    }


def rows(plan: Plan) -> list[tuple[str, str]]:
    """What a plan says, line by line."""
    layout = f"chunks {plan.chunks}"
    if plan.shards is not None:
        layout += f" in shards {plan.shards}"
    first = plan.images[0]
    more = f" and {len(plan.images) - 1} more" if len(plan.images) > 1 else ""
    return [
        ("source", f"{without_secrets(first.source)}{more}"),
        ("", f"{first.original_axes} {first.original_data_shape}, {first.data_dtype}"),
        ("output", plan.target.name if plan.target else "none: the lazy array alone"),
        *_arrays(plan, f"{' each its own' if more else ''}", layout),
        *_model(plan),
        ("tiles", f"{plan.n_tiles:,} of {plan.tile_shape}, one every {plan.step}"),
        ("", f"{plan.compute_ratio:.2f} voxels computed per voxel kept{_at_edges(plan)}"),
        *_chosen(plan),
        ("blocks", f"{plan.n_blocks:,} of {plan.block_shape}, one task and one write each"),
        (
            "data",
            f"{format_bytes(plan.bytes_in)} in, {format_bytes(plan.bytes_out)} out; "
            f"{plan.read_ratio:.2f} bytes read per byte needed, before caching ({plan.io})",
        ),
        (
            "memory",
            f"{format_bytes(plan.peak_memory)} at the peak of a worker of {plan.threads} thread(s)",
        ),
        ("time", f"{format_time(plan.model_seconds)} in the model, with {plan.threads} thread(s)"),
    ]


def _arrays(plan: Plan, each: str, layout: str) -> list[tuple[str, str]]:
    """A line for each array of an image."""
    named = zip(plan.prediction.stored, plan.prediction.outputs[0], strict=True)
    return [
        (
            "",
            f"{output.name + ': ' if output.name else ''}{dims.axes} {dims.shape}{each}, "
            f"{output.dtype}{', ' + layout if number == 0 else ''}",
        )
        for number, (output, dims) in enumerate(named)
    ]


def _model(plan: Plan) -> list[tuple[str, str]]:
    """The model, and what happens before and after it."""
    signature, treatment = plan.signature, plan.treatment
    channels = " and ".join(str(output.channels) for output in signature.outputs)
    lines = [f"{plan.model_name}, {channels} channel(s) out"]
    if not signature.keeps_size:
        scale = ", ".join(map(str, signature.scale))
        lines.append(
            f"{scale} voxels out per voxel in, margins {signature.margin} cut off its tiles"
        )
    if treatment.normalization is not None:
        back = ", mapped back afterwards" if treatment.denormalize else ""
        lines.append(f"values normalised: {treatment.normalization}{back}")
    if treatment.augment:
        lines.append(
            f"{' and '.join(treatment.augment)}: the mean of {len(treatment.positions)} positions"
        )
    if plan.prediction.blends:
        lines.append(f"overlapping tiles blended with {treatment.stitch} weights")
    if treatment.post is not None:
        lines.append(f"then {treatment.post.handle.name}, block by block")
    return [("model" if number == 0 else "", line) for number, line in enumerate(lines)]


def _at_edges(plan: Plan) -> str:
    """What blocks compute twice, because tiles reach over their edges."""
    excess = plan.compute_ratio / plan.tile_ratio
    return f", {excess:.2f} times the tiles' own at the blocks' edges" if excess > 1.005 else ""


def _chosen(plan: Plan) -> list[tuple[str, str]]:
    if plan.choice is None:
        return []
    lines = [f"chosen: {plan.choice.chosen}", f"for {plan.choice.why}"]
    lines += [f"rejected: {option}" for option in plan.choice.rejected[:3]]
    return [("auto" if number == 0 else "", line) for number, line in enumerate(lines)]


def as_text(plan: Plan) -> str:
    """A plan for the terminal."""
    return text_table("<daskpatch.Plan>", rows(plan), 8)


def as_html(plan: Plan) -> str:
    """A plan for a notebook."""
    return html_table("daskpatch plan", rows(plan))
