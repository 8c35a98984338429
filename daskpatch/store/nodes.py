"""Arrays and groups of a hierarchy: opened, found, created."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numcodecs
import zarr
from numpy.typing import DTypeLike
from zarr.codecs import BloscCodec
from zarr.errors import ContainsArrayError, ContainsGroupError
from zarr.types import AnyArray

from ..support import cause_of, parsed, said_by, text_of
from .arrays import StoredArray
from .backoff import CHECK_REMOTE, at_first
from .foreign_files import format_named, instead_of_zarr, why_missing
from .lenient import LenientStore
from .location import Location, locate
from .objects import Objects
from .reopening import reading_mode

_REMOTE = (
    f"{CHECK_REMOTE} (of S3: AWS_ACCESS_KEY_ID and so on, or AWS_SKIP_SIGNATURE=true for a public "
    "bucket)"
)


_PICKLED = "'object_codec_id': 'pickle'"

_PICKLES = (
    ". Its chunks are pickles, which run code when they are read: they are refused. Whoever trusts "
    "them writes the array anew, with another codec"
)

V2_ATTRIBUTES = ".zattrs"
"""The file of a Zarr v2 node's attributes, beside that which says what it is."""

_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", V2_ATTRIBUTES)
"""The files that say what a node is."""

_NO_METADATA = (AttributeError, TypeError, json.JSONDecodeError)
"""What zarr raises of JSON that is something else, or none."""


class BrokenError(OSError):
    """Metadata that are none."""


def open_node(location: Location) -> AnyArray | zarr.Group:
    """The array or group at a place, read only.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        If there is something else: what it is, and how it is opened, is told.
    """
    node = existing_node(location)
    if node is not None:
        return node
    other = instead_of_zarr(location)
    if other:
        raise ValueError(f"{location.name} is {other}.")
    hint = why_missing(location)
    named = format_named(location.name)
    if named is not None and named.reader:
        raise FileNotFoundError(f"No file at {location.name}; {hint}.")
    raise FileNotFoundError(
        f"No Zarr array or group at {location.name}; {hint} (an array inside a group is named by "
        "its full path, for example volume.zarr/raw)."
    )


def existing_node(location: Location) -> AnyArray | zarr.Group | None:
    """The array or group at a place, read only, or None.

    Raises
    ------
    OSError
        If there is something that cannot be read: broken metadata, no permission, no answer.
    """
    node = _existing(location)
    return without_consolidated(node) if isinstance(node, zarr.Group) else node


def without_consolidated(group: zarr.Group) -> zarr.Group:
    """A group whose members are looked up: they may have grown since, or been added."""
    if not _is_consolidated(group):
        return group

    def attempt() -> zarr.Group:
        return zarr.open_group(
            store=group.store,
            path=group.path,
            mode=reading_mode(group.store),
            zarr_format=group.metadata.zarr_format,
            use_consolidated=False,
        )

    return at_first(attempt, f"Opening {locate(group).name}")


def _is_consolidated(node: AnyArray | zarr.Group | None) -> bool:
    """Whether readers of a group take its members' metadata from a copy in the group's own."""
    return isinstance(node, zarr.Group) and node.metadata.consolidated_metadata is not None


def _existing(location: Location) -> AnyArray | zarr.Group | None:
    try:
        return at_first(partial(_opened, location), f"Opening {location.name}")
    except FileNotFoundError:  # zarr's errors for a missing node are kinds of this one
        return None
    except PermissionError as error:
        node = _opened_leniently(location)
        if node is not None:
            return node
        reason = error.strerror or said_by(error)
        raise PermissionError(f"{location.name} may not be read: {reason}.") from cause_of(error)
    except NotADirectoryError:
        return None
    except Exception as error:  # noqa: BLE001 (each kind of store raises its own)
        is_local = location.local_path is not None
        is_broken = isinstance(error, _NO_METADATA) or (is_local and isinstance(error, KeyError))
        advice = _mended(location) if is_local and is_broken else "" if is_local else f". {_REMOTE}"
        advice = _PICKLES if _PICKLED in text_of(error) else advice
        broken, kind = ("its metadata are broken: ", BrokenError) if is_broken else ("", OSError)
        raise kind(
            f"{location.name} could not be read as Zarr: {broken}{type(error).__name__}: "
            f"{said_by(error)}{advice}"
        ) from cause_of(error)


def _mended(location: Location) -> str:
    """Where broken metadata of a folder can be put right."""
    folder = location.local_path
    found = [] if folder is None else [name for name in _DOCUMENTS if (folder / name).is_file()]
    return f". Put {' or '.join(found)} there right, from a copy if there is one." if found else ""


def _opened(location: Location) -> AnyArray | zarr.Group:
    location.check_process()
    store, path, mode = location.store, location.path, reading_mode(location.store)
    try:
        return zarr.open(store=store, path=path, mode=mode)
    except KeyError:  # of a store that makes up its keys, and has none of Zarr v3
        if location.local_path is not None:
            raise
        return zarr.open(store=store, path=path, mode=mode, zarr_format=2)
    except ContainsArrayError:
        # Created just now: zarr looks for an array first, and finds it when it looks for a group.
        return zarr.open_array(store=store, path=path, mode=mode)


def _opened_leniently(location: Location) -> AnyArray | zarr.Group | None:
    """The node at a place whose server forbids what is not there; None where nothing reads."""
    if location.local_path is not None:
        return None
    store = LenientStore(location.store)

    def attempt() -> AnyArray | zarr.Group:
        return zarr.open(store=store, path=location.path, mode=reading_mode(store))

    try:
        return at_first(attempt, f"Opening {location.name}")
    except (OSError, ValueError):  # what can be read is no node, or denied, too
        return None


_log = logging.getLogger("daskpatch")


@dataclass(frozen=True, slots=True)
class Node:
    """What is at a place: its attributes, and the array, where it is one; else it is a group.

    `zarr_format` is what readers take it for, that are not told of one.
    """

    attributes: Mapping[str, Any]
    array: StoredArray | None
    zarr_format: int


def node_at(location: Location) -> Node | None:
    """The array or group at a place, or None.

    Raises
    ------
    OSError
        If there is something that cannot be read.
    """
    node = existing_node(location)
    if node is None:
        return None
    array = StoredArray(node) if isinstance(node, zarr.Array) else None
    return Node(node.attrs.asdict(), array, node.metadata.zarr_format)


def attributes_at(location: Location) -> dict[str, Any]:
    """The attributes of the array or group at a place; empty where there is none."""
    node = existing_node(location)
    return {} if node is None else node.attrs.asdict()


_NO_DOCUMENT = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError),
    PermissionError,  # servers that may not list answer so for what is missing
    KeyError,  # of a store that makes up its keys
    ValueError,  # no JSON
)


def own_attributes(location: Location) -> Mapping[str, Any]:
    """The attributes that lie at a place itself, in one or two requests; empty where none do.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    return attributes_of(*own_document(location))


def own_document(location: Location) -> tuple[str, Mapping[str, Any]]:
    """The document at a place that has its attributes, by its name; empty where there is none.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    for name in ("zarr.json", V2_ATTRIBUTES):
        said = document_at(location, name)
        if said is not None:
            return name, said
    return V2_ATTRIBUTES, {}


def attributes_of(name: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes in a document of that name."""
    found = document.get("attributes") if name == "zarr.json" else document
    return found if isinstance(found, dict) else {}


def document_at(location: Location, name: str) -> dict[str, Any] | None:
    """One of a node's documents, in one request; None where there is none, or it says nothing.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    folder = location.local_path
    if folder is not None and not folder.is_dir():
        return None  # asked for in a folder that is not there, a store seen read-only raises
    objects = Objects(location, delays=())
    try:
        content = at_first(partial(objects.read, name), f"Reading {name} in {location.name}")
        said = None if content is None else parsed(content)
    except _NO_DOCUMENT:  # what cannot be understood is no run's
        return None
    return said if isinstance(said, dict) else None


def members_of_group(group: zarr.Group) -> list[tuple[str, AnyArray | zarr.Group]]:
    """Arrays and groups in a group; other files there are no concern of ours."""
    with warnings.catch_warnings():
        # zarr warns of every file that it does not know, also of those that readers don't mind.
        warnings.filterwarnings("ignore", "Object at .* is not recognized", UserWarning)
        try:
            return at_first(
                lambda: list(group.members()) or _consolidated_members(group),
                f"Listing the members of {group.name}",
            )
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 (one that cannot be read raises anything)
            _log.info("Not all of %s can be read: %s", locate(group).name, said_by(error))
            return list(_readable_members(group))


def _readable_members(group: zarr.Group) -> Iterator[tuple[str, AnyArray | zarr.Group]]:
    """One by one: a member that cannot be read does not hide the others."""
    place = locate(group)
    for name in Objects(place).entries():
        try:
            node = existing_node(place.child(name))
        except OSError as error:
            _log.info("%s is passed over: %s", place.child(name).name, said_by(error))
            continue
        if node is not None:
            yield name, node


def _consolidated_members(group: zarr.Group) -> list[tuple[str, AnyArray | zarr.Group]]:
    """The members that a group's consolidated metadata name, as they are: servers may not list."""
    as_told = zarr.open_group(
        store=group.store,
        path=group.path,
        mode=reading_mode(group.store),
        zarr_format=group.metadata.zarr_format,
    )
    if not _is_consolidated(as_told):
        return []
    found = ((name, group.get(name)) for name, _ in as_told.members())
    return [(name, member) for name, member in found if member is not None]


def create_array(
    location: Location,
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    dimension_names: Sequence[str],
    attributes: Mapping[str, Any],
    zarr_format: Literal[2, 3] = 3,
    is_nested: bool = False,
) -> StoredArray:
    """A new array, empty; or the one that is there, which somebody else created just now.

    Compressed with Blosc-zstd level 1 and bitshuffle, which is faster and smaller than zarr's
    default on microscopy. With `is_nested` chunks of Zarr v2 lie in folders, as those of v3 do.
    """
    is_v2 = zarr_format == 2
    if is_v2:
        attributes = {**attributes, "_ARRAY_DIMENSIONS": list(dimension_names)}

    def attempt() -> AnyArray:
        _say_first(location, attributes, zarr_format)
        return zarr.create_array(
            store=location.store,
            name=location.path or None,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            compressors=(
                numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.BITSHUFFLE)
                if is_v2
                else BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
            ),
            fill_value=0,
            chunk_key_encoding=(
                {"name": "v2", "separator": "/" if is_nested else "."} if is_v2 else None
            ),
            dimension_names=None if is_v2 else dimension_names,
            attributes=dict(attributes),
            zarr_format=zarr_format,
        )

    try:
        array = at_first(attempt, f"Creating {location.name}")
    except Exception:
        # Parts begin at the same time: whoever comes second finds the array that the first made.
        there = existing_array(location)
        if there is None:
            raise
        return there
    return StoredArray(array)


def _say_first(
    location: Location, attributes: Mapping[str, Any], zarr_format: Literal[2, 3]
) -> None:
    """Write the attributes of a node that is about to be made, where they are a file of their own.

    The node is made in several requests: who is killed between them leaves a place that says whose
    it is.
    """
    if zarr_format == 2 and attributes:
        content = json.dumps(attributes, default=str).encode()
        Objects(location, delays=()).create(V2_ATTRIBUTES, content)


def existing_array(location: Location) -> StoredArray | None:
    """The array at a place, for writing, or None where nothing is.

    Raises
    ------
    ValueError
        If a group is there.
    """
    node = existing_node(location)
    if isinstance(node, zarr.Group):
        raise ValueError(
            f"{location.name} holds a group, where the run that is gone on with has an array: "
            "somebody put it there. Move it away, or give another output."
        )
    if not isinstance(node, zarr.Array):
        return None
    mode: Literal["r", "r+"] = "r" if location.store.read_only else "r+"

    def attempt() -> AnyArray:
        return zarr.open_array(
            store=location.store,
            path=location.path,
            mode=mode,
            zarr_format=node.metadata.zarr_format,
        )

    return StoredArray(at_first(attempt, f"Opening {location.name}"))


def is_zip(location: Location) -> bool:
    """Whether a place is inside a ZIP file."""
    return isinstance(location.store, zarr.storage.ZipStore)


def _says(told: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    """Whether attributes, as JSON gives them back, are among those that are told."""
    return bool(json.loads(json.dumps({**told, **attributes}, default=str)) == told)


def ensure_group(
    location: Location, *, attributes: Mapping[str, Any], zarr_format: Literal[2, 3]
) -> None:
    """A group with these attributes, among others that it has; its members are left alone.

    One that says them already is not written: who writes takes back what others wrote since it was
    read, and of parts that begin together each comes here.
    """

    def attempt() -> None:
        place: dict[str, Any] = {"store": location.store, "path": location.path}
        if existing_node(location) is None:
            _say_first(location, attributes, zarr_format)
            # Others may make it just now: other parts, or zarr, of one inside it.
            with suppress(ContainsGroupError):
                zarr.create_group(**place, attributes=dict(attributes), zarr_format=zarr_format)
                return
        group = zarr.open_group(**place, mode="r+")
        if not _says(group.attrs.asdict(), attributes):
            group.attrs.update(dict(attributes))

    at_first(attempt, f"Making the group {location.name}")
