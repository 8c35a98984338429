"""What an output says about how it was made; never secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError
from typing import Any

from ..deciding import Decided
from ..model import Sizing
from ..patching import Patching, TileStrategy
from ..support import Options, declarations, installed_version, without_secrets
from ..values import Statistics

_LONGEST = 2000
"""Characters of a repr that are kept: a strategy may hold a million specs."""


def provenance_of(decided: Decided, statistics: Sequence[Statistics] | None) -> dict[str, Any]:
    """Versions, sources, tiling, model, and all options that voxels depend on, as JSON."""
    options, recipe = decided.options, decided.recipe
    signature = recipe.signature
    return {
        "version": installed_version("daskpatch"),
        "packages": {name: _version(name) for name in ("numpy", "zarr", "dask", "tensorstore")},
        "source": [without_secrets(image.source) for image in recipe.images],
        "source_axes": [image.original_axes for image in recipe.images],
        "tiling": tiling_of(decided.tiling.patching),
        "model": recipe.model_name,
        "signature": {
            "outputs": [
                {**asdict(output), **({} if signature.is_of_one_size else _size(sizing))}
                for output, sizing in zip(signature.outputs, signature.sizings, strict=True)
            ],
            **_size(signature.finest),
        },
        "outputs": [output.name for output in recipe.stored],
        **_told(options.model),
        **_told(options.output),
        **_told(options.normalize),
        "input_dtype": str(options.model.dtype),
        "augment": list(options.model.augment or ()),
        "normalize": None if options.normalize.kind is None else str(options.normalize),
        "statistics": None if statistics is None else [one.to_dict() for one in statistics],
        "post": None if options.output.function is None else options.output.function.handle.name,
    }


def _size(sizing: Sizing) -> dict[str, Any]:
    return {
        "scale": [str(s) for s in sizing.scale],
        "margin": [list(m) for m in sizing.margin],
    }


def _told(value: Options) -> dict[str, Any]:
    """The options that a run records itself, by their words."""
    return {
        declared.word: getattr(value, declared.name)
        if declared.record is None
        else declared.record(value)
        for declared in declarations(type(value)).values()
        if declared.guard and declared.word is not None
    }


def tiling_of(patching: Patching) -> dict[str, Any]:
    """The strategy and its arguments; the shapes are the sources'."""
    if isinstance(patching, TileStrategy):
        arguments = {f.name: getattr(patching, f.name) for f in fields(patching) if f.init}  # type: ignore[arg-type]
        # The sources say their shapes themselves, and a series may have thousands.
        arguments.pop("data_shapes")
        return {"strategy": type(patching).__name__, **arguments}
    return {"strategy": type(patching).__name__, "repr": _shortened(repr(patching))}


def _version(package: str) -> str | None:
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
