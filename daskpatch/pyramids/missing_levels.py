"""The levels of an image that are built: which, how they lie, and what they take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..deciding import Limits, Memory, check_chunks, check_memory
from ..geometry import Factors, factors_along, halvings
from ..image import chunk_nbytes_of
from ..output import (
    KEY,
    BlockBudget,
    Layout,
    Output,
    Pyramid,
    check_own,
    choose_layout,
    is_taken,
    pyramid_over,
    written_around,
)
from ..receipts import Record
from ..running import LevelSet, Origin
from ..store import StoredArray, existing_array, own_attributes
from ..support import counted
from ..values import Downsample
from .pyramid_image import PyramidImage


def levels_over(subject: PyramidImage, asked: Output, limits: Limits) -> LevelSet | None:
    """What is built of an image; None where it has all levels.

    Raises
    ------
    ValueError
        If options don't fit it.
    MemoryError
        If a block does not fit the memory.
    """
    factors = _factors(subject, asked)
    if not factors:
        return None
    check_chunks([subject.base], limits)
    method: Downsample = asked.downsample or ("mode" if subject.is_label else "mean")
    dtype = subject.base.data_dtype.newbyteorder("=")
    pyramid, memory = _decided(subject, asked, factors, method, dtype, limits)
    last = subject.number + len(factors)
    placed = {number: [[subject.level(number)]] for number in range(subject.number, last)}
    first = subject.level(subject.number)
    beside = [subject.place, *subject.listed, *written_around(subject.group)]
    return LevelSet(
        images=pyramid.images,
        methods=pyramid.methods,
        dtypes=(np.dtype(dtype),),
        root=subject.group,
        placed={subject.number - 1: [[subject.place]], **placed},
        records=(first,),
        zarr_format=subject.zarr_format,
        io=limits.io,
        memory=memory,
        origin=Origin(
            subject.base,
            subject.attributes,
            # Where nothing is written nobody has a claim, and a web server lists none.
            tuple(p for p in beside if p.parts != first.parts and not p.why_not_written),
        ),
    )


def check_free(subject: PyramidImage, levels: LevelSet, *, resumes: bool) -> None:
    """Refuse to build a level where something is that is not the run's own.

    Raises
    ------
    FileExistsError
        If there is something.
    """
    is_begun = resumes and bool(Record(levels.records[0]).passes())
    if subject.number == 0 and not is_begun and is_taken(subject.group):
        raise FileExistsError(
            f"{subject.group.name} exists; give another output, or resume=True to go on with its "
            "run."
        )
    if is_begun:
        for number in levels.numbers:
            array = existing_array(subject.level(number))
            if array is not None:
                check_own(array)
        return
    for number in levels.numbers:
        place = subject.level(number)
        if is_taken(place):
            is_own = KEY in own_attributes(place) and place.parts not in {
                each.parts for each in subject.listed
            }
            way_on = "give resume=True to go on with its run" if is_own else "move it away"
            raise FileExistsError(
                f"Level {number} is to lie at {place.name}, and something is there that the image "
                f"does not list; {way_on}. Nothing that is there is written over."
            )


def _factors(subject: PyramidImage, asked: Output) -> tuple[Factors, ...]:
    """Of each new level; where the image is copied, ones before them."""
    dims = subject.dimensions
    is_copy = subject.number == 0
    copied = ((1,) * len(dims.shape),) if is_copy else ()
    if asked.factors is not None:
        given = factors_along(dims.axes, dims.shape, asked.factors)
        if isinstance(asked.pyramid, int) and asked.pyramid != len(given):
            raise ValueError(
                f"pyramid is {asked.pyramid}, and factors are those of "
                f"{counted(len(given), 'level')}; give factors alone."
            )
        return (*copied, *given)
    wanted = asked.pyramid - subject.has if isinstance(asked.pyramid, int) else None
    if wanted is not None and wanted <= 0:
        return copied
    return (*copied, *halvings(subject.coordinates, dims.shape, n_levels=wanted))


def _decided(
    subject: PyramidImage,
    asked: Output,
    factors: Sequence[Factors],
    method: Downsample,
    dtype: np.dtype[np.generic],
    limits: Limits,
) -> tuple[Pyramid, Memory]:
    threads = limits.n_threads
    while True:
        budget = BlockBudget(
            seconds_per_voxel=1e-9,
            bytes_per_voxel=4.0 * dtype.itemsize,
            bytes_per_thread=limits.nbytes / 2 / threads,
            threads=threads,
            has_cache=False,
        )
        pyramid = pyramid_over(
            subject.dimensions,
            dtype,
            factors,
            _layout(subject, asked, budget),
            budget,
            method=method,
            first=subject.number,
        )
        memory = Memory(
            threads=threads,
            source=0,
            box=0,
            batches=0,
            working=0,
            block=0,
            # A back end decodes one chunk while it copies from the one before.
            levels=pyramid.bytes_per_thread + 2 * chunk_nbytes_of(subject.base),
            chunks=0,
            cache=0,
            model=0,
            statistics=0,
            knob="give smaller chunks",
        )
        if memory.peak <= limits.nbytes or threads == 1 or limits.threads is not None:
            break
        threads = max(threads // 2, 1)
    check_memory(memory, limits.nbytes, "the memory_limit")
    return pyramid, memory


def _layout(subject: PyramidImage, asked: Output, budget: BlockBudget) -> Layout:
    """Chunks and shards of the first new level, by default those of what it is made of."""
    array = subject.base.array
    assert isinstance(array, StoredArray), "found in a store"
    is_v2 = subject.zarr_format == 2
    if is_v2 and asked.shards is not None:
        raise ValueError(
            f"{subject.group.name} is of Zarr v2, where arrays have no shards; leave shards out."
        )
    chunks, shards = asked.chunks, asked.shards
    if chunks is None and shards is None:
        chunks, shards = array.chunks, None if is_v2 else array.shards
    dims = subject.dimensions
    return choose_layout(
        dims,
        (1,) * dims.ndim,
        chunks=chunks,
        shards=shards,
        block_shape=None,
        budget=budget,
    )
