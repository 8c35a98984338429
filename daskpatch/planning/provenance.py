"""What an output says about how it was made; never secrets."""

from __future__ import annotations

from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..patching import TileStrategy
from ..store import without_secrets

if TYPE_CHECKING:
    from .plan import Plan

_LONGEST = 2000
"""Characters of a repr that are kept: a strategy may hold a million specs."""


def provenance_of(plan: Plan) -> dict[str, Any]:
    """Versions, sources, tiling, model and normalisation, as JSON."""
    prediction, treatment = plan.prediction, plan.treatment
    signature = prediction.signature
    return {
        "version": version("daskpatch"),
        "packages": {name: _version(name) for name in ("numpy", "zarr", "dask", "tensorstore")},
        "source": [without_secrets(image.source) for image in prediction.images],
        "source_axes": [image.original_axes for image in prediction.images],
        "tiling": tiling_of(plan.patching),
        "model": prediction.model.handle.name,
        "input_dtype": str(prediction.input_dtype),
        "signature": {
            "outputs": [asdict(output) for output in signature.outputs],
            "scale": [str(s) for s in signature.scale],
            "margin": [list(m) for m in signature.margin],
        },
        "outputs": list(plan.output_names),
        "stitch": prediction.stitch,
        "augment": list(treatment.augment),
        "normalize": None if treatment.normalization is None else str(treatment.normalization),
        "denormalize": treatment.denormalize,
        "statistics": statistics_as_json(plan),
        "post": None if treatment.post is None else treatment.post.handle.name,
    }


def statistics_as_json(plan: Plan) -> list[dict[str, Any]] | None:
    """What each image is normalised by; None where nothing was measured."""
    if plan.statistics is None:
        return None
    return [statistics.to_dict() for statistics in plan.statistics]


def tiling_of(patching: Any) -> dict[str, Any]:
    """The strategy and its arguments; the shapes are the sources'."""
    if isinstance(patching, TileStrategy):
        arguments = {f.name: getattr(patching, f.name) for f in fields(patching) if f.init}  # type: ignore[arg-type]
        arguments.pop("data_shapes")
        return {"strategy": type(patching).__name__, **arguments}
    return {"strategy": type(patching).__name__, "repr": _shortened(repr(patching))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
