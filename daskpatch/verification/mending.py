"""Bad blocks of an output computed again, with the model that the user gives."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from .. import patching as strategies
from ..deciding import Tiles, TilesLike
from ..geometry import coarser_region
from ..image import ImageStack, SourceLike, open_stack
from ..model import Model
from ..output import Output
from ..patching import Patching, TileStrategy
from ..planning import Plan, check_repairable, plan
from ..pyramids import rebuild
from ..receipts import (
    Announcements,
    Claim,
    Fingerprint,
    LevelFingerprint,
    LevelSettings,
    Part,
    PassDocument,
    Record,
    Report,
    SourceRecord,
    as_json,
)
from ..running import LEVEL, Run
from ..store import StoreLike
from ..support import cause_of, converted, restored
from ..values import Normalize
from .outputs import PREDICTION, RecordedBlocks, RecordedImage, RecordedRun, recorded_run


def repair_plan(
    run: RecordedRun,
    model: Model,
    target: Output,
    *,
    source: SourceLike | Sequence[SourceLike] | None,
    patching: TilesLike | None,
) -> Plan:
    """The plan that bad blocks are computed with again: the one that the run began with.

    The options that voxels depend on are restored as their declarations say; those that a record
    cannot hold (model, `post`, a function `skip_empty`, a strategy from elsewhere) are given.

    Raises
    ------
    ValueError
        If source, tiling or model is not what the run began with.
    """
    first = run.images[0].document
    began = as_json(first.fingerprint)
    sources = _sources(run.images, source)
    shapes = [image.document.fingerprint.source.data_shape for image in run.images]
    tiles = _strategy(first.fingerprint, shapes) if patching is None else patching
    as_begun = replace(model, **restored(Model, began))
    output = replace(target, **_of_output(run.images, target))
    normalize = Normalize(**restored(Normalize, began))
    try:
        planned = plan(
            sources if first.is_series else sources[0],
            as_begun,
            output,
            tiles=Tiles(patching=tiles),
            normalize=normalize,
        )
    except ValueError as error:
        raise ValueError(
            "The model does not go with the settings that the run began with; give the one that it "
            f"began with. {error}"
        ) from cause_of(error)
    check_repairable(planned)
    return planned


def _of_output(images: Sequence[RecordedImage], given: Output) -> dict[str, Any]:
    """The layout is taken from the record when the run is resumed; functions are given."""
    found = {**restored(Output, as_json(images[0].document.fingerprint)), "post": given.post}
    if given.skip_empty is not None:
        found["skip_empty"] = given.skip_empty
    told = [image.document.fingerprint.treatment.get("mask") for image in images]
    if None not in told:
        masks = [_mask_record(each) for each in told]
        mask: Any = given.mask
        given_masks = mask if isinstance(mask, list | tuple) else [mask] * len(masks)
        opened = [
            _opened(facts, f"mask {facts.where}", "mask", one)
            for facts, one in zip(masks, given_masks, strict=True)
        ]
        found["mask"] = opened if len(images) > 1 else opened[0]
    return found


def mend(
    planned: Plan, output: StoreLike, bad: Mapping[str, Collection[int]], *, progress: bool
) -> Report:
    """Drop the receipts of bad blocks, and resume: what has no receipt is computed.

    Blocks that were set aside because they ended the process are tried once more.

    `bad` holds the blocks of each pass, by its name; of levels of a pyramid those, too, that are
    computed of bad ones.
    """
    run = recorded_run(output, read_only=False)
    # Nobody may write receipts while some are taken back.
    with Claim(run.images[0].record, Part()):
        for image in run.images:
            finer = image.blocks
            doubtful = {i for i in bad[PREDICTION] if i in finer.indices}
            dropped = [(finer, doubtful)]
            for level in run.levels_of(image):
                doubtful = {
                    *(i for i in bad.get(level.name, ()) if i in level.indices),
                    *_computed_of(finer, doubtful, level),
                }
                dropped.append((level, doubtful))
                finer = level
            # The coarsest first: cut short in between, what is made of a bad block is bad, too.
            for blocks, indices in reversed(dropped):
                if blocks.record.document() is not None:
                    blocks.record.drop(sorted(indices))
                    Announcements(blocks.record, Part()).forget()
    return planned.run(resume=True, progress=progress)


def mend_built(
    run: RecordedRun, bad: Mapping[str, Collection[int]], source: Any, *, progress: bool
) -> Report:
    """Build bad blocks again of levels that `daskpatch.pyramid` built, and what is made of them."""
    chain = list(run.built)
    if run.images:
        chain = [run.images[0].blocks, *run.levels_of(run.images[0]), *chain]
    doubtful: dict[str, set[int]] = {}
    finer: RecordedBlocks | None = None
    for level in chain:
        found = {i for i in bad.get(level.name, ()) if i in level.indices}
        if finer is not None:
            found.update(_computed_of(finer, doubtful[finer.name], level))
        doubtful[level.name], finer = found, level
    places = {level.record.location.parts: level.record.location for level in run.built}
    reports = []
    for place in places.values():
        own = [level for level in run.built if level.record.location.parts == place.parts]
        with Claim(Record(place), Part()):
            # The coarsest first: cut short in between, what is made of a bad block is bad, too.
            for level in reversed(own):
                if level.record.document() is not None:
                    level.record.drop(sorted(doubtful[level.name]))
                    Announcements(level.record, Part()).forget()
        reports.append(_rebuilt(own, source, progress=progress))
    return reduce(add, reports)


def _rebuilt(own: Sequence[RecordedBlocks], source: Any, *, progress: bool) -> Report:
    """What has no receipt any more, of levels with one record, built again."""
    first, place = own[0], own[0].record.location
    document = first.record.document()
    group, number = place.parent, int(first.name.removeprefix(LEVEL))
    assert isinstance(document, PassDocument), "it was found by that"
    assert group is not None, "a level lies in a group"
    settings = document.settings_as(LevelSettings)
    copied = settings.source if source is None else source
    return rebuild(
        group.given,
        None if number else copied,
        number,
        axes=settings.axes,
        # What is copied is no level that could be asked for.
        factors=[level.factors or () for level in own][0 if number else 1 :],
        downsample=document.fingerprint_as(LevelFingerprint).downsample[0],
        run=Run(resume=True, progress=progress),
    )


def _computed_of(
    finer: RecordedBlocks, doubtful: Iterable[int], level: RecordedBlocks
) -> Iterator[int]:
    """The blocks of a level that are computed of some blocks of the level before."""
    assert level.factors is not None, "a level has some"
    order = tuple(range(len(level.grid.shape)))
    for index in doubtful:
        region = finer.grid.cell(index - finer.first)
        ranges = level.grid.ranges(coarser_region(region, level.factors))
        yield from (level.first + i for i in level.grid.indices(ranges, order))


def _sources(
    images: Sequence[RecordedImage], source: SourceLike | Sequence[SourceLike] | None
) -> list[ImageStack]:
    given: Any = source if isinstance(source, list | tuple) else [source] * len(images)
    return [_source(image, one) for image, one in zip(images, given, strict=True)]


def _source(image: RecordedImage, given: SourceLike | None) -> ImageStack:
    facts = image.document.fingerprint.source
    return _opened(facts, f"source {image.document.source}", "source", given)


def _opened(facts: SourceRecord, name: str, word: str, given: SourceLike | None) -> ImageStack:
    """A source or a mask, as the run opened it, or as it is given."""
    found = facts.where if given is None else given
    if isinstance(found, ImageStack):
        return found
    if isinstance(found, str) and found == "memory":
        raise ValueError(f"The {name} was no stored array; pass it to the repair: {word}=…")
    file = facts.file
    if given is None and file is not None:
        if file.files > 1:
            raise ValueError(
                f"The {name} was a sequence of {file.files} files; pass it to the repair: "
                f"{word}=daskpatch.open_sequence(…)"
            )
        found = facts.where if file.name is None else f"{facts.where}:{file.name}"
    return open_stack(
        found,
        level=0 if file is None else file.level,
        image=None if file is None else file.image,
        axes=facts.axes,
        channels=facts.channels,
        padding="reflect" if facts.padding is None else facts.padding,
        ndim=len(facts.data_shape) - 2,
    )


def _strategy(began: Fingerprint, shapes: Sequence[Sequence[int]]) -> Patching:
    name = began.tiling["strategy"]
    kind: Any = getattr(strategies, name, object)
    if not issubclass(kind, TileStrategy):
        raise ValueError(
            f"The tiling {name} is not daskpatch's own; pass it to the repair: patching=…"
        )
    arguments = {key: value for key, value in began.tiling.items() if key != "strategy"}
    try:
        made: Patching = kind(shapes, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(_broken("tiling", error)) from error
    return made


def _mask_record(told: object) -> SourceRecord:
    try:
        return converted(told, SourceRecord)
    except ValueError as error:
        raise ValueError(_broken("treatment.mask", error)) from error


def _broken(field: str, error: Exception) -> str:
    return (
        "The record (run.json) is broken, or of another version of daskpatch: "
        f"fingerprint.{field}: {error}"
    )
