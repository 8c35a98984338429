"""What a run was begun with: the run document, typed, and the one place that reads and writes it.

A document says by its `format` what it is: 3 is a prediction (`.daskpatch/run.json`; 1 before runs
had ids), 2 any further pass (`.daskpatch/passes/NAME/run.json`). Decoding names the field that is
wrong by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from ..geometry import RegularGrid, check_axes
from ..model import Parts
from ..support import Natural, Positive, as_dtype, converted, decoded
from ..values import Downsample, ResultSample, Statistics
from .sealing import check_sealed, sealed

T = TypeVar("T")

Json = dict[str, Any]
"""JSON values by name."""

Shape = tuple[Positive, ...]


OutputName = Annotated[str, Meta(pattern=r"^(?!\.{1,2}$)[^/\\\x00]*$", max_length=255)]
"""Of an array inside the output; empty where it is the output itself."""


ArrayPath = Annotated[
    str,
    Meta(pattern=r"^(?!\.{1,2}(/|$))[^/\\\x00]*(/(?!\.{1,2}(/|$))[^/\\\x00]+)*$", max_length=515),
]
"""Of an array inside an image's output; empty where it is the output itself."""


def array_paths(attribute: object) -> list[str]:
    """Where the arrays of an image lie, as the attribute of their group says; none if it is odd.

    Groups of before say the names of several arrays alone.

    >>> array_paths({"arrays": ["mean/0"]}), array_paths({"outputs": ["mean", "../../others"]})
    (['mean/0'], [])
    """
    told = attribute if isinstance(attribute, Mapping) else {}
    try:
        paths = converted(told.get("arrays", told.get("outputs", [])), list[ArrayPath])
    except msgspec.ValidationError:
        return []
    return [path for path in paths if path]


def image_paths(attribute: object) -> list[str]:
    """Where the images of a series lie, as the attribute of their group says; none if it is odd.

    >>> image_paths({"images": ["B/03/0"]}), image_paths({"source": ["a", "b"]})
    (['B/03/0'], ['0', '1'])
    """
    told = attribute if isinstance(attribute, Mapping) else {}
    sources = told.get("source")
    numbers = list(map(str, range(len(sources)))) if isinstance(sources, list) else []
    try:
        return converted(told.get("images", numbers), list[ArrayPath])
    except msgspec.ValidationError:
        return []


class FileRecord(Struct, frozen=True, omit_defaults=True):
    """A file of another format: its size, its time in nanoseconds, and which array of it is meant.

    Of a sequence of files, `files` is their number; sizes are summed, and the latest time counts.
    """

    bytes: Natural
    modified: int
    name: str | None = None
    level: Natural = 0
    image: int | str | None = None
    files: Positive = 1
    names: str | None = None


class SourceRecord(Struct, frozen=True, omit_defaults=True):
    """An image: where it is, what it is, a digest of a sample of its voxels; its place in a series.

    `where` is a URL, or `memory`; `file` is there where it is a file of another format.
    """

    where: str
    axes: str
    shape: Shape
    data_shape: Shape
    dtype: str
    channels: tuple[Natural, ...] | None
    padding: str | float | None
    content: str
    number: Natural
    of: Positive
    file: FileRecord | None = None


Ratio = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}(/[1-9][0-9]{0,8})?$")]
"""Voxels per voxel of the source: `"2"`, `"1/4"`."""


class OutputRecord(Struct, frozen=True, omit_defaults=True):
    """One stored array; `scale`, along (Z)YX, where several arrays of a run differ in it."""

    axes: str
    shape: Shape
    dtype: str
    scale: tuple[Ratio, ...] = ()

    def __post_init__(self) -> None:
        check_axes(self.axes, self.shape)
        as_dtype("dtype", self.dtype)


class PlacedArray(Struct, frozen=True):
    """Where an array lies, and what its absent chunks are read as (`StoredArray.fill_value`)."""

    path: ArrayPath
    fill_value: str


class LayoutRecord(Struct, frozen=True):
    """Voxels per axis of what a store writes, and of what a task owns."""

    chunks: Shape
    shards: Shape | None
    block_shape: Shape


class Fingerprint(Struct, frozen=True):
    """What voxels depend on: changed, they would come out otherwise.

    `model` is a digest of all that tells it and `post` from others; the document's `identity` has
    the parts. `tiling` is the strategy's name and arguments, `treatment` what happens to values
    beside the model: options that are not at their defaults, by name.
    """

    numerics: int
    source: SourceRecord
    tiling: Json
    model: str | None
    input_dtype: str
    treatment: Json
    output: dict[OutputName, OutputRecord]
    layout: LayoutRecord


class IdentityRecord(Struct, frozen=True):
    """What model, `post` and `skip_empty` were: their parts, or the text that vouched for them.

    Attributes
    ----------
    results
        Samples of what the model gave, by the array's name: for the trial tile and, where that was
        the same everywhere, for one of noise; None where it did not give the same twice.
    cut
        Voxels per spatial axis of the middle of the trial tile, where `results` are of that; None
        where they are of all of it, as in earlier records.
    """

    model: Parts | str | None
    post: Parts | str | None
    results: tuple[dict[str, ResultSample], ...] | None
    skip_empty: Parts | str | None = None
    cut: Shape | None = None


class BlocksRecord(Struct, frozen=True):
    """The blocks of one array: the flat index of the first, their shape, and what is merged."""

    first: Natural
    shape: Shape
    merge: tuple[bool, ...]

    def grid(self, shape: tuple[int, ...]) -> RegularGrid:
        """The blocks of an array of a shape."""
        return RegularGrid(shape, self.shape, self.merge)


class RunDocument(Struct, frozen=True, kw_only=True, tag_field="format", tag=3):
    """What the prediction of one image was begun with.

    `run_id` names the folder of its receipts: those of another run never count. `arrays` says more
    of the arrays; runs that were begun before have none, and their arrays lie at their names.
    `levels` are the factors of each level of the image's pyramid, along the first array's axes;
    None in runs that were begun before there were any; `downsample` says how each array is made
    coarser.
    """

    run_id: str = ""
    created: float = 0.0
    fingerprint: Fingerprint
    blocks: BlocksRecord
    source: str
    model: str
    is_series: bool
    statistics: Statistics | None = None
    identity: IdentityRecord | None = None
    arrays: dict[OutputName, PlacedArray] = {}
    levels: tuple[Shape, ...] | None = None
    downsample: tuple[str, ...] = ()

    @property
    def n_arrays(self) -> int:
        """That a block writes."""
        return len(self.fingerprint.output)

    def __post_init__(self) -> None:
        outputs = list(self.fingerprint.output.values())
        if not outputs:
            raise ValueError("there is no array in `$.fingerprint.output`")
        n_axes = len(outputs[0].shape)
        if not n_axes == len(self.blocks.shape) == len(self.blocks.merge):
            raise ValueError("`$.blocks` has other axes than `$.fingerprint.output`")
        layout = self.fingerprint.layout
        sizes = [layout.chunks, layout.shards or layout.chunks, layout.block_shape]
        if any(len(each) != n_axes for each in sizes):
            raise ValueError("`$.fingerprint.layout` has other axes than `$.fingerprint.output`")
        if any(len(factors) != n_axes for factors in self.levels or ()):
            raise ValueError("`$.levels` has other axes than `$.fingerprint.output`")
        if not isinstance(self.fingerprint.tiling.get("strategy"), str):
            raise ValueError("there is no name in `$.fingerprint.tiling.strategy`")
        data_shape = self.fingerprint.source.data_shape
        if len(data_shape) not in (4, 5):  # SC(Z)YX
            raise ValueError("`$.fingerprint.source.data_shape` has neither 4 nor 5 entries")
        if any(len(output.scale) not in (0, len(data_shape) - 2) for output in outputs):
            raise ValueError("`$.fingerprint.output` has scales of other axes than the source")


class FormerRunDocument(RunDocument, frozen=True, kw_only=True, tag_field="format", tag=1):
    """One of a run that was begun before runs had ids; it stays what it is."""


class ArrayRecord(Struct, frozen=True, omit_defaults=True):
    """An array that a pass writes: the way there from the output, its axes and shape.

    In a document the way is that from the record. `dtype` and `fill_value` are empty where a pass
    does not say them, `scale` where its arrays have one.
    """

    path: str
    axes: str
    shape: Shape
    dtype: str = ""
    fill_value: str = ""
    scale: tuple[Ratio, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype:
            as_dtype("dtype", self.dtype)


class LevelSettings(Struct, frozen=True):
    """What the record of a pass over a level says in `settings`: how coarser it is.

    Of levels that are built of an image that is there, also which are, and of what.
    """

    factors: Shape
    levels: tuple[Shape, ...] = ()
    source: str = ""
    axes: str = ""


class LevelFingerprint(Struct, frozen=True):
    """What it says in `fingerprint` of how each array is made coarser."""

    downsample: Annotated[tuple[Downsample, ...], Meta(min_length=1)]


class StatisticsSettings(Struct, frozen=True):
    """What the record of the pass over images says in `settings`: voxels of a box."""

    voxels: Positive


class PassDocument(Struct, frozen=True, tag_field="format", tag=2):
    """What a pass other than the prediction was begun with.

    Attributes
    ----------
    fingerprint
        What its blocks depend on.
    settings
        What a resumed pass takes from here, whatever it would choose now.
    of
        The shape that is cut into blocks.
    arrays
        What it writes, all with the same blocks; empty where blocks leave bytes only.
    """

    name: str
    created: float
    fingerprint: Json
    settings: Json
    of: Shape
    blocks: BlocksRecord
    arrays: tuple[ArrayRecord, ...] = ()
    run_id: str = ""

    @property
    def n_arrays(self) -> int:
        """That a block writes; 1 where it leaves bytes."""
        return max(len(self.arrays), 1)

    def settings_as(self, kind: type[T]) -> T:
        """What a kind of pass says in `settings`.

        Raises
        ------
        ValueError
            If it is not that; the field that is wrong is named.
        """
        return self._told("settings", kind)

    def fingerprint_as(self, kind: type[T]) -> T:
        """What it says in `fingerprint`; raises as `settings_as`."""
        return self._told("fingerprint", kind)

    def _told(self, field: str, kind: type[T]) -> T:
        try:
            return converted(getattr(self, field), kind)
        except msgspec.ValidationError as error:
            raise ValueError(
                f"The record of {self.name} (run.json of that pass) is broken, or of another "
                f"version of daskpatch: {field}: {error}. overwrite=True starts anew."
            ) from error

    def __post_init__(self) -> None:
        if not len(self.of) == len(self.blocks.shape) == len(self.blocks.merge):
            raise ValueError("`$.blocks` has other axes than `$.of`")


Document = RunDocument | FormerRunDocument | PassDocument


def encode_document(document: Document) -> bytes:
    """A document as indented JSON, with its checksum."""
    return sealed(msgspec.json.format(msgspec.json.encode(document), indent=1))


def decode_document(content: bytes) -> Document:
    """A document out of JSON.

    Raises
    ------
    ValueError
        If it is none; the field is named by its path, such as `$.blocks.shape`.
    """
    document: Document = decoded(content, Document)  # its errors are ValueErrors
    check_sealed(content)
    return document


def as_json(value: object) -> Any:
    """A value as it comes back from JSON: tuples are lists.

    >>> as_json({"shape": (1, 2)})
    {'shape': [1, 2]}
    """
    return msgspec.json.decode(msgspec.json.encode(value))
