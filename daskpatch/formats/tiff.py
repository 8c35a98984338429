"""TIFF, OME-TIFF, ImageJ's and pyramids: understood by tifffile, read tile by tile.

tifffile's own ways to read have one position in the file for all threads; here each tile or strip
is read by its offset, and decoded by tifffile.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region, RegularGrid
from ..support import load_extra
from .alignment import aligned_box
from .array_choice import ArrayChoice, check_level, chosen_image
from .descriptor import Descriptor
from .reader import Box, Facts
from .rows import PixelRows
from .tiff_metadata import described
from .voxel_places import coarser_places

_JPEG = (6, 7, 33007, 34892)
"""Compressions whose tables are kept apart."""

_TORN = ("invalid page offset", "invalid value offset", "corrupted")
"""What tifffile logs, and goes on, of files that end too early."""

_MISSING = "failed to read"
"""The same of an OME-TIFF that lacks a file."""


class TiffReader:
    """A level of one of the images (series) in a TIFF file.

    Raises
    ------
    ValueError
        If there is no such image or level, or the file is torn.
    ImportError
        If imagecodecs is needed and missing.
    """

    def __init__(self, path: str, choice: ArrayChoice) -> None:
        tifffile = load_extra("tifffile", f"Reading {path}")
        self._path = path
        self._lock = threading.Lock()  # pages are looked up when they are first read
        self._file = Descriptor(path)
        with _complaints() as complaints:
            try:
                self._tiff = tifffile.TiffFile(path)
                self._choose(choice)
            except (tifffile.TiffFileError, IndexError) as error:
                raise ValueError(_torn(path, str(error))) from None
        self._check(complaints)
        self._check_codecs(tifffile.TIFF)
        self._check_end()

    def _choose(self, choice: ArrayChoice) -> None:
        images = self._tiff.series
        names = [each.name or str(each.shape) for each in images]
        self._levels = images[chosen_image(choice, names, self._path)].levels
        shapes = [each.shape for each in self._levels]
        self._level = check_level(choice, shapes, self._path)
        self._series = self._levels[self._level]
        self._last = self._series[len(self._series) - 1]

    @cached_property
    def facts(self) -> Facts:
        told = described(self._tiff, self._levels[0])
        finest, shape = self._levels[0].shape, tuple(self._series.shape)
        places = [coarser_places(told.places, finest, level.shape) for level in self._levels]
        levels = {str(i): each for i, each in enumerate(places)} if len(places) > 1 else {}
        return Facts(
            shape,
            self.dtype,
            told.axis_names,
            self._chunks,
            told.channel_names,
            places[self._level],
            levels,
        )

    @property
    def _chunks(self) -> tuple[int, ...] | None:
        if self._is_plain:
            return None
        box = tuple(slice(0, n) for n in self._tile)
        tile = aligned_box(box, self._page.shaped, self._page_shape)
        within = tuple(map(min, (each.stop for each in tile), self._page_shape))
        return (1,) * (len(self._series.shape) - len(self._page_shape)) + within

    def read(self, box: Box) -> NDArray[np.generic]:
        count = len(self._series.shape) - len(self._page_shape)
        inner = aligned_box(box[count:], self._page_shape, self._page.shaped)
        pages = product(*(range(part.start, part.stop) for part in box[:count]))
        shape = tuple(part.stop - part.start for part in box)
        out = np.empty((math.prod(shape[:count]), *(s.stop - s.start for s in inner)), self.dtype)
        for index, frame in enumerate(pages):
            at = np.ravel_multi_index(frame, self._series.shape[:count]) if frame else 0
            if self._is_plain:
                self._rows(int(at)).read(inner, out[index])
            else:
                self._read_page(int(at), inner, out[index])
        return out.reshape(shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self._series.dtype)
        return dtype

    @cached_property
    def _page(self) -> Any:
        """The page that speaks for all of the image."""
        return self._series.keyframe

    @cached_property
    def _page_shape(self) -> tuple[int, ...]:
        """The trailing axes of the image that lie in one page."""
        shape = tuple(self._series.shape)
        fits = (shape[i:] for i in range(len(shape) + 1))
        # The longest, so that axes of length 1 in front of it lie in it, too.
        return next(part for part in fits if math.prod(part) == self._page.size)

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the voxels lie one after another, as they are."""
        return self._series.dataoffset is not None and not self._series.is_multifile

    @cached_property
    def _tile(self) -> tuple[int, ...]:
        """What is decoded at once, along tifffile's axes: samples, Z, Y, X, colours."""
        page = self._page
        _, _, length, width, colours = page.shaped
        if page.is_tiled:
            return (1, max(page.tiledepth, 1), page.tilelength, page.tilewidth, colours)
        return (1, 1, min(page.rowsperstrip, length), width, colours)

    def _rows(self, index: int) -> PixelRows:
        """Those of a page."""
        dtype = self.dtype.newbyteorder(self._tiff.byteorder)
        offset = self._series.dataoffset + index * self._page.size * dtype.itemsize
        return PixelRows(self._file, offset, dtype, self._page.shaped)

    def _read_page(self, index: int, box: Box, out: NDArray[Any]) -> None:
        with self._lock:
            page = self._series[index]
        out[...] = self._page.nodata
        if page is None:  # OME-TIFF may leave planes out
            return
        grid = RegularGrid.clipped(self._page.shaped, self._tile)
        region = Region(tuple(s.start for s in box), tuple(s.stop for s in box))
        for cell in product(*grid.ranges(region)):
            number = int(np.ravel_multi_index(cell, grid.counts))
            decoded = self._decoded(page, number)
            if decoded is None:
                continue
            start = tuple(i * n for i, n in zip(cell, self._tile, strict=True))
            source, target = zip(*map(_overlap, start, (1, *decoded.shape), box), strict=True)
            out[target] = decoded[None][source]

    def _decoded(self, page: Any, number: int) -> NDArray[Any] | None:
        """A tile or strip, or None where the file has none, or an empty one."""
        if number >= len(page.dataoffsets) or not page.databytecounts[number]:
            return None
        data = self._file_of(page).read(page.dataoffsets[number], page.databytecounts[number])
        key: Any = self._page
        tables = (
            {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}
            if key.compression in _JPEG
            else {}
        )
        decoded: NDArray[Any] | None = key.decode(data, number, **tables)[0]
        return decoded

    def _file_of(self, page: Any) -> Descriptor:
        """The file that a page lies in: OME-TIFF may spread an image over several."""
        if page.parent is self._tiff:
            return self._file
        # Opened for each tile, so that a thousand files are not open at a time.
        return Descriptor(page.parent.filehandle.path)

    def _check(self, complaints: list[str]) -> None:
        """Refuse what tifffile reads as less, or other, than what is meant."""
        for said in complaints:
            if any(map(said.__contains__, _TORN)):
                raise ValueError(_torn(self._path, said))
            if _MISSING in said:  # and takes their planes for empty
                raise ValueError(
                    f"{self._path} is an image of several files, and one is not read: {said}."
                )
        if self._series.transform is not None:
            raise ValueError(
                f"{self._path} holds values that tifffile maps to others ({self._series.kind}); "
                f"pass tifffile.imread({self._path!r}) as the source."
            )

    def _check_codecs(self, tables: Any) -> None:
        page = self._page
        try:
            if page.compression != 1:
                _check_stand_in(tables.DECOMPRESSORS[page.compression])
            if page.predictor != 1:
                tables.UNPREDICTORS[page.predictor]
        except (KeyError, ImportError) as error:
            load_extra("imagecodecs", f"Reading {self._path} ({error.args[0]!s})")
            raise ValueError(
                f"{self._path} is compressed in a way that is not read ({error.args[0]}); save it "
                "with another compression."
            ) from None

    def _check_end(self) -> None:
        """Refuse a file that ends before its last page does."""
        if self._is_plain:
            count = math.prod(self._series.shape) * self.dtype.itemsize
            end = self._series.dataoffset + count
        else:
            pages = [p for p in (self._page, self._last) if p is not None]
            ends = [
                offset + count
                for page in pages
                if page.parent is self._tiff
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
            end = max(ends, default=0)
        if end > self._file.size:
            raise ValueError(
                _torn(self._path, f"its voxels end at byte {end}, the file at {self._file.size}")
            )

    def __del__(self) -> None:
        if hasattr(self, "_tiff"):
            self._tiff.close()


def _overlap(start: int, size: int, wanted: slice) -> tuple[slice, slice]:
    """The part of a run of voxels that is wanted: in the run, and in what is wanted."""
    first, last = max(start, wanted.start), min(start + size, wanted.stop)
    return slice(first - start, last - start), slice(first - wanted.start, last - wanted.start)


def _check_stand_in(decode: Any) -> None:
    """Refuse what tifffile has for a codec of imagecodecs where Python lacks what that needs.

    zstd comes with Python 3.14; before it fails only when it decodes.

    Raises
    ------
    ImportError
        If it is missing.
    """
    if decode.__module__ != "tifffile._imagecodecs":
        return
    try:
        decode(b"")
    except ImportError:
        raise
    except Exception:  # noqa: BLE001 (of nothing each says in its way that it is too little)
        return


def _torn(path: str, why: str) -> str:
    return f"{path} is torn, or no sound TIFF file ({why}); copy it again, or save it anew."


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What tifffile logs in this thread of what is wrong, and then goes on."""
    said: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    log = logging.getLogger("tifffile")
    log.addHandler(listener)
    try:
        yield said
    finally:
        log.removeHandler(listener)
