"""Bad blocks of an output computed again, with the model that the user gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import patching as strategies
from ..image import open_stack
from ..patching import TileStrategy
from ..planning import Plan
from ..planning.claiming import check_resumable
from ..prediction import plan
from ..receipts import Claim, Part, Report
from ..values import options_of
from .outputs import RecordedImage, recorded_images


def repair_plan(
    output: Any,
    images: Sequence[RecordedImage],
    model: Any,
    *,
    source: Any | None,
    patching: Any | None,
    post: Any | None,
    model_id: str | None,
) -> Plan:
    """The plan that bad blocks are computed with again: the one that the run began with.

    Raises
    ------
    ValueError
        If source, tiling or model is not what the run began with.
    """
    began = images[0].run["fingerprint"]
    sources = _sources(images, source)
    shapes = [image.run["fingerprint"]["source"]["data_shape"] for image in images]
    planned = plan(
        sources if images[0].run["is_series"] else sources[0],
        model,
        output,
        patching=patching or _strategy(began["tiling"], shapes),
        input_dtype=began["input_dtype"],
        dtype={name: output["dtype"] for name, output in began["output"].items()},
        model_id=model_id,
        post=post,
        **_options(began["treatment"]),
    )
    check_resumable(planned)
    return planned


def _options(treatment: dict[str, Any]) -> dict[str, Any]:
    """The options of `plan` that a treatment was made from."""
    names = ("stitch", "augment", "denormalize", "scale", "margin")
    options = {name: treatment[name] for name in names if name in treatment}
    if "normalize" in treatment:
        options |= options_of(treatment["normalize"])
    return options


def mend(planned: Plan, output: Any, bad: Sequence[int], *, progress: bool) -> Report:
    """Drop the receipts of bad blocks, and resume: what has no receipt is computed."""
    images = recorded_images(output, read_only=False)
    with Claim(images[0].record, Part()):
        for image in images:
            image.record.drop([index for index in bad if index in image.blocks])
    return planned.run(resume=True, progress=progress)


def _sources(images: Sequence[RecordedImage], source: Any | None) -> list[Any]:
    given = source if isinstance(source, list | tuple) else [source] * len(images)
    return [_source(image, one) for image, one in zip(images, given, strict=True)]


def _source(image: RecordedImage, given: Any | None) -> Any:
    facts = image.run["fingerprint"]["source"]
    found = facts["where"] if given is None else given
    if isinstance(found, str) and found == "memory":
        raise ValueError(
            f"The source {image.run['source']} was no stored array; pass it to the repair: source=…"
        )
    return open_stack(
        found,
        axes=facts["axes"],
        channels=facts["channels"],
        padding=facts["padding"],
        ndim=len(facts["data_shape"]) - 2,
    )


def _strategy(tiling: dict[str, Any], shapes: list[list[int]]) -> Any:
    kind: Any = getattr(strategies, tiling["strategy"], object)
    if not issubclass(kind, TileStrategy):
        raise ValueError(
            f"The tiling {tiling['strategy']} is not daskpatch's own; pass it to the repair: "
            "patching=…"
        )
    arguments = {name: value for name, value in tiling.items() if name != "strategy"}
    made: Any = kind
    return made(shapes, **arguments)
