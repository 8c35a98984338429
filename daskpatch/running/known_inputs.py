"""The images and masks of a prediction: what tells them from others, and whether it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deciding import SeenVoxels
from ..geometry import Region
from ..image import (
    SAMPLES,
    ImageStack,
    Mask,
    chunk_nbytes_of,
    identity_of_image,
    is_at_hand,
    is_chunked,
    unseen_cells,
    with_delays,
)
from ..reading import SampledChunks, chunk_positions
from ..receipts import SourceRecord
from ..store import ChangedError
from ..support import DEFAULT_PACING, DaemonThreads, Pacing

_READERS = 8

_READERS_OF_ONE = 16

_MASK_SAMPLES = 4096
"""Chunks of a mask that tell it from others: most have fewer, and are told by all voxels."""

_SERIES_SAMPLES, _LEAST = 512, 4
"""Chunks that are read of a whole series, and of each of its images at least."""


@dataclass(frozen=True)
class KnownInputs:
    """Images and masks with their identities, each looked at when it is first asked for.

    Parameters
    ----------
    side_by_side
        Whether images bear several readers at a time, whatever they are.
    nbytes
        What may be held of them while they are looked at.
    source_records, mask_records
        Identities that are known; those that are looked at are added.
    sampled
        Keeps chunks that are read of the images when they are first looked at.
    """

    images: tuple[ImageStack, ...]
    masks: tuple[Mask, ...]
    side_by_side: bool
    nbytes: int
    source_records: list[SourceRecord]
    mask_records: list[SourceRecord]
    sampled: SampledChunks

    @property
    def of_images(self) -> list[SourceRecord]:
        """The identities of the images, looked at once."""
        if not self.source_records:
            numbers = range(len(self.images))
            self.source_records.extend(self._read_sources(numbers, self.sampled))
        return self.source_records

    @property
    def of_masks(self) -> list[SourceRecord]:
        """The identities of the masks, looked at once."""
        if len(self.mask_records) < len(self.masks):
            numbers = range(len(self.masks))
            self.mask_records[:] = [_mask_record(self.masks, number) for number in numbers]
        return self.mask_records

    def check_seen(self, seen: SeenVoxels, pacing: Pacing) -> None:
        """Refuse images other than those that the model was tried on.

        In this process blocks take what was read for it.

        Raises
        ------
        ChangedError
            If the voxels of the trial tile are others, of an image that is not computed.
        """
        image = with_delays(self.images, pacing.delays)[seen.data_idx]
        if not is_at_hand(image):
            return
        read = self.sampled.read if self._may_hold(image, seen) else _by_itself
        voxels = read(image, seen.data_idx, seen.sample_idx, seen.box)
        if not seen.are(voxels, image.data_dtype):
            raise ChangedError(
                f"{image.source} was made anew, or edited, since this plan was made: its voxels "
                "are others"
            )

    def _may_hold(self, image: ImageStack, seen: SeenVoxels) -> bool:
        """Whether all chunks of a box may be held at a time."""
        if not is_chunked(image):
            return True
        n_chunks = len(chunk_positions(image, seen.sample_idx, seen.box))
        return 2 * n_chunks * chunk_nbytes_of(image) <= self.nbytes

    def masks_within(self, pacing: Pacing) -> list[Mask]:
        """The masks, waited for as long as a run waits."""
        return [mask.with_delays(pacing.delays) for mask in self.masks]

    def changed(self, numbers: Sequence[int], pacing: Pacing) -> dict[int, str]:
        """Of some images those that are no longer what they were, or their masks, in words."""
        # Blocks read a large mask again; of a smaller one the record has every voxel.
        masks = self.masks
        read_again = [n for n in numbers if masks and not unseen_cells(masks, n).is_exact]
        return {**self.changed_masks(read_again, pacing), **self._changed_images(numbers, pacing)}

    def changed_masks(self, numbers: Sequence[int], pacing: Pacing) -> dict[int, str]:
        """Of some masks those that are no longer what they were in the beginning, in words."""
        masks = self.masks_within(pacing)
        return {
            number: f"The mask {masks[number].image.source} was made anew during the run, or lost "
            "chunks: its voxels are others, and what the run wrote by it does not count"
            for number in numbers
            if is_at_hand(masks[number].image)
            and _mask_record(masks, number) != self.of_masks[number]
        }

    def _changed_images(self, numbers: Sequence[int], pacing: Pacing) -> dict[int, str]:
        known, looked_at = self.of_images, SampledChunks()  # of which nothing is kept
        found = self._read_sources(numbers, looked_at, pacing)
        others = [now for now in found if now != known[now.number]]
        # What is computed may come out otherwise each time: then that says nothing.
        computed = [now.number for now in others if not is_at_hand(self.images[now.number])]
        again = {now.number: now for now in self._read_sources(computed, looked_at, pacing)}
        return {
            now.number: f"{self.images[now.number].source} was made anew during the run, or lost "
            "chunks: its voxels are others, and what the run wrote from it does not count"
            for now in others
            if again.get(now.number, now) == now
        }

    def _read_sources(
        self, numbers: Sequence[int], sampled: SampledChunks, pacing: Pacing = DEFAULT_PACING
    ) -> list[SourceRecord]:
        images = with_delays(self.images, pacing.delays)
        # A series of thousands would read for hours; so few chunks of each still tell most changes.
        samples = max(_LEAST, min(SAMPLES, _SERIES_SAMPLES // len(images)))
        with DaemonThreads(_READERS, "daskpatch-source") as pool:
            # One image is read by as many as a series: the run waits for it, twice. What is no
            # array of ours may not bear more threads than compute.
            is_safe = self.side_by_side or all(map(is_chunked, images))
            readers = max(_READERS_OF_ONE // max(len(numbers), 1), 1) if is_safe else 1
            # Each holds a chunk or two; all of them no more than the run will.
            chunk = 2 * max(map(chunk_nbytes_of, images)) or 1
            readers = max(min(readers, self.nbytes // chunk), 1)

            def facts_of(number: int) -> dict[str, Any]:
                read = partial(sampled.read, images[number], number)
                return identity_of_image(images[number], samples, readers, read)

            found = pool.map(facts_of, numbers)
            return [
                SourceRecord(**facts, number=number, of=len(images))
                for number, facts in zip(numbers, found, strict=True)
            ]


def _by_itself(
    image: ImageStack,
    number: int,  # noqa: ARG001 (as `SampledChunks.read`)
    sample_idx: int,
    box: Region,
) -> NDArray[np.generic]:
    """A box as a plan reads it, of which no chunk is kept."""
    return image.extract_patch(sample_idx, None, box.start, box.shape)


def _mask_record(masks: Sequence[Mask], number: int) -> SourceRecord:
    """The identity of one of several masks, looked at now."""
    facts = identity_of_image(masks[number].image, samples=_MASK_SAMPLES)
    return SourceRecord(**facts, number=number, of=len(masks))
