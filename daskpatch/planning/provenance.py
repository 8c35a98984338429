"""What an output says about how it was made; never secrets."""

from __future__ import annotations

from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..block import Prediction
from ..patching import TileStrategy
from ..store import without_secrets

_LONGEST = 2000
"""Characters of a repr that are kept: a strategy may hold a million specs."""


def provenance_of(prediction: Prediction, patching: Any) -> dict[str, Any]:
    """Versions, sources, tiling and model, as JSON."""
    signature = prediction.signature
    return {
        "version": version("daskpatch"),
        "packages": {name: _version(name) for name in ("numpy", "zarr", "dask", "tensorstore")},
        "source": [without_secrets(image.source) for image in prediction.images],
        "source_axes": [image.original_axes for image in prediction.images],
        "tiling": tiling_of(patching),
        "model": prediction.model.handle.name,
        "input_dtype": str(prediction.input_dtype),
        "signature": {
            "channels": signature.channels,
            "dtype": str(signature.dtype),
            "scale": [str(s) for s in signature.scale],
            "margin": [list(m) for m in signature.margin],
        },
    }


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
