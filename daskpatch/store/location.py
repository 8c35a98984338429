"""Where an array or a group lies: a zarr store, a path in it, and a name fit to be shown."""

from __future__ import annotations

import os
import posixpath
import re
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import zarr
from zarr.abc.store import Store
from zarr.storage import (
    FsspecStore,
    LocalStore,
    MemoryStore,
    ObjectStore,
    StorePath,
    WrapperStore,
    ZipStore,
)

from ..support import cause_of, load_extra, redacted, said_by, shown, what_is, without_secrets
from .awaited import AwaitedStore
from .backoff import CHECK_REMOTE
from .forked import refuse_inherited
from .loops import OBJECTS

_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https")


_AZURE = ("az", "azure", "abfs", "abfss", "adl")

_LOCAL = ("file", "local")

_BUCKETS = ("S3Store", "GCSStore", "AzureStore")
"""obstore's stores of buckets."""

_OPTIONS = ("config", "client_options", "retry_config", "credential_provider")
"""Of these stores: credentials, endpoint and the like."""

Folder = tuple[int, int]
"""Device and inode."""


def _resolved(*parts: str | Path) -> Path:
    """A path whose links are followed; one that leads to itself stays, and cannot be opened."""
    return Path(os.path.realpath(Path(*parts)))


def folder_at(path: Path) -> Folder | None:
    """Which folder (or file) a path names; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


@dataclass(frozen=True, slots=True)
class Location:
    """A place for an array or a group.

    `name` is what the user gave, without user info and query; it is safe to show and to store.
    """

    store: Store
    path: str
    name: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The place as path components that can be compared between stores."""
        scheme, *rest = (*_store_parts(self.store), *filter(None, self.path.split("/")))
        # Again: inside the store there may be links, too.
        return ("file", *_resolved(*rest).parts) if scheme == "file" else (scheme, *rest)

    @property
    def url(self) -> str:
        """The place as a URL without secrets, the same for every store that shows it."""
        scheme, *rest = self.parts
        # One spelling for a place, however it was reached: fingerprints compare it.
        if scheme == "file":
            return Path(*rest).as_uri()
        return f"{scheme.rstrip(':')}://{'/'.join(rest)}"

    @property
    def has_address(self) -> bool:
        """Whether other processes know the place by the same name: not all stores say one."""
        return _address(_unwrapped(self.store)) is not None

    @property
    def local_path(self) -> Path | None:
        """The folder, where the store is one."""
        if isinstance(self.store, LocalStore):
            return _resolved(self.store.root, self.path)
        return None

    @property
    def dangling(self) -> str:
        """Where a local link leads that leads to nothing; empty of all else."""
        if not isinstance(self.store, LocalStore):
            return ""
        place = Path(self.store.root) / self.path
        return os.readlink(place) if place.is_symlink() and not place.exists() else ""

    @property
    def folder(self) -> Folder | None:
        """Which folder a local place is, now, where it exists; links are followed."""
        if isinstance(self.store, LocalStore):
            return folder_at(Path(self.store.root) / self.path)
        return None

    @property
    def given(self) -> Path | StorePath:
        """What a user could give for it."""
        return self.local_path or StorePath(self.store, self.path)

    @property
    def folders(self) -> list[Folder]:
        """The folder of a local place and those around it, where they exist; else none.

        One folder has one device and inode, also where it is mounted twice.
        """
        scheme, *rest = self.parts
        if scheme != "file":
            return []
        path = Path(*rest)
        return [found for each in (path, *path.parents) if (found := folder_at(each)) is not None]

    @property
    def lives_in_this_process(self) -> bool:
        """Whether another process would see a copy, not the same data."""
        store = _unwrapped(self.store)
        if isinstance(store, FsspecStore):
            return _protocol(store) == "memory"
        if isinstance(store, ObjectStore):
            return type(store.store).__name__ == "MemoryStore"
        return isinstance(store, MemoryStore)

    @property
    def is_near(self) -> bool:
        """Whether it is a folder or this process's memory: others are behind a network."""
        return self.local_path is not None or self.lives_in_this_process

    @property
    def is_comparable(self) -> bool:
        """Whether other places can be told from this one: fsspec's file systems may hold others."""
        store = _unwrapped(self.store)
        if isinstance(store, ObjectStore):
            return self.has_address or self.lives_in_this_process
        if not isinstance(store, FsspecStore):
            return True
        known = (*_SCHEMES, *_LOCAL, "gcs", "memory")
        return _protocol(store) in known and self.has_address

    def check_process(self) -> None:
        """Refuse a store that does not work in this process, which was forked.

        Raises
        ------
        RuntimeError
            If it would wait for ever.
        """
        if isinstance(_unwrapped(self.store), ObjectStore):
            refuse_inherited("obstore", f"Reading or writing {self.name}")

    @property
    def why_not_written(self) -> str:
        """Why outputs cannot be written to this kind of store; empty where they can."""
        store = _unwrapped(self.store)
        if self.is_web:
            return "a web server, which takes nothing; write to disk or to an object store"
        if type(store).__module__.partition(".")[0] == "icechunk":
            return (
                "an Icechunk store, which takes Zarr's own keys only, and no receipts; write to a "
                "plain store, and copy the array when it is done"
            )
        return ""

    @property
    def is_web(self) -> bool:
        """Whether it is on a web server, which takes nothing, and lists nothing to be relied on."""
        store = _unwrapped(self.store)
        if isinstance(store, FsspecStore):
            return _protocol(store) in ("http", "https")
        return isinstance(store, ObjectStore) and type(store.store).__name__ == "HTTPStore"

    @property
    def is_occupied(self) -> bool:
        """Whether there is anything at the place, Zarr or not, as far as the store can tell.

        Folders in which there is no file are nothing: a run that ended early leaves some.
        """
        folder = self.local_path
        if folder is not None and folder.exists():
            return not folder.is_dir() or any(
                entry.is_symlink() or not entry.is_dir() for entry in _entries_below(folder)
            )
        if isinstance(self.store, ObjectStore):
            prefix = f"{self.path}/" if self.path else None
            try:
                return any(len(batch) for batch in self.store.store.list(prefix))
            except Exception as error:  # noqa: BLE001 (obstore's kinds are its own)
                raise OSError(
                    f"{self.name} could not be listed: {type(error).__name__}: {said_by(error)}. "
                    f"{CHECK_REMOTE}."
                ) from cause_of(error)
        return False

    @property
    def is_vacant(self) -> bool:
        """Whether the store says that nothing is at the place; not all kinds of stores can."""
        can_tell = self.local_path is not None or isinstance(self.store, ObjectStore)
        return can_tell and not self.is_occupied

    def links(self, most: int | None = None) -> Iterator[Location]:
        """Where links in a folder lead to, those at the top first.

        Of its first `most` entries, if that is said: an array may have millions. Links are not
        followed to find others.
        """
        root = self.local_path
        if root is not None and root.is_dir():
            for entry in islice(_entries_below(root), most):
                if entry.is_symlink():
                    yield locate(_resolved(entry.path))

    @property
    def parent(self) -> Location | None:
        """The place around this one, where that can be told."""
        if self.path:
            return Location(self.store, self.path.rpartition("/")[0], self.name.rpartition("/")[0])
        folder = self.local_path
        if folder is None:
            store = _store_around(self.store)
            return None if store is None else Location(store, "", self.name.rpartition("/")[0])
        return None if folder.parent == folder else locate(folder.parent, read_only=True)

    def child(self, name: str) -> Location:
        path = f"{self.path}/{name}" if self.path else name
        return Location(self.store, path, f"{self.name}/{name}")

    def path_from(self, other: Location) -> str:
        """The way here from another place of the store; empty where they are the same.

        >>> locate("a.zarr").path_from(locate("b.zarr"))
        '../a.zarr'
        """
        path = posixpath.relpath("/".join(self.parts), "/".join(other.parts))
        return "" if path == "." else path

    def at(self, path: str) -> Location:
        """The place at the end of such a way."""
        place = self
        for name in filter(None, path.split("/")):
            around = place.parent if name == ".." else place.child(name)
            if around is None:
                raise ValueError(f"There is no place {path} from {self.name}.")
            place = around
        return place

    def contains(self, other: Location) -> bool:
        """Whether the other place is this one or lies inside it, by whatever way it is reached."""
        mine = self.parts
        if other.parts[: len(mine)] == mine:
            return True
        here = folder_at(Path(*mine[1:])) if mine[0] == "file" else None
        return here is not None and here in other.folders


def _entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Files, folders and links, level by level."""
    coming = deque([os.fspath(folder)])
    while coming:
        with os.scandir(coming.popleft()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    coming.append(entry.path)


def locate(target: object, *, read_only: bool = False) -> Location:
    """The place of a path, URL, zarr array or group, store or store path.

    URLs take credentials and endpoint from the environment (`AWS_ENDPOINT_URL` and so on).

    Raises
    ------
    ImportError
        If a URL needs obstore and it is missing.
    TypeError
        If the target is none of these.
    """
    if isinstance(target, zarr.Array | zarr.Group):
        store, path = _absolute(target.store), target.path
        return Location(store, path, _name_of(store, path))
    if isinstance(target, StorePath):
        store = _absolute(target.store)
        return Location(store, target.path, _name_of(store, target.path))
    if isinstance(target, Store):
        store = _absolute(_opened(target))
        return Location(store, "", _name_of(store, ""))
    if isinstance(target, str) and "://" in target:
        return _locate_url(target, read_only=read_only)
    if isinstance(target, str) and (not target or "\0" in target):
        raise ValueError(f"{target!r} names no place; needed is a path or a URL.")
    if isinstance(target, str | os.PathLike):
        _check_no_url(os.fspath(target))
        path = os.path.abspath(os.path.expanduser(target))
        _check_names(path)
        name = without_secrets(str(target))  # of a URL that went through pathlib
        return Location(LocalStore(path, read_only=read_only), "", name)
    raise TypeError(
        f"The place is {what_is(target)}; needed is a path, a URL, or a zarr array, group or store."
    )


def _opened(store: Store) -> Store:
    """The same store; a ZIP file's is of no use until it is opened.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(store, ZipStore) and store.read_only:  # another one may empty its file
        try:
            OBJECTS.wait(StorePath.open(store, ""))
        except FileNotFoundError:
            raise FileNotFoundError(f"No ZIP file at {store.path}; check the path.") from None
        except (zipfile.BadZipFile, IsADirectoryError) as error:
            raise ValueError(f"{store.path} is no ZIP file: {said_by(error)}.") from None
    return store


_OF_URL = re.compile(rf"(?i)({'|'.join(_SCHEMES)}|gcs|file)(:[/\\]|//)(.*)")
"""What is left of a URL by pathlib, or by whoever mistyped it."""


def _check_no_url(path: str | bytes) -> None:
    """Refuse a path that was a URL: it would name a new folder in the current one."""
    found = _OF_URL.fullmatch(os.fsdecode(path))
    if found is None or os.path.lexists(path) or os.path.isdir(found[1]):
        return
    scheme, _, rest = found.groups()
    slashes = "///" if scheme.lower() == "file" else "//"
    url = f"{scheme}:{slashes}" + rest.replace("\\", "/").lstrip("/")
    raise ValueError(
        f"{shown(without_secrets(os.fsdecode(path)))} looks like the URL "
        f"{without_secrets(url)}, with a slash too few (a Path keeps one only); give that, as text."
    )


_LONGEST_NAME = 255
"""Bytes: what file systems have."""


def _check_names(path: str) -> None:
    longest = max((len(os.fsencode(name)) for name in path.split(os.sep)), default=0)
    if longest > _LONGEST_NAME:
        raise ValueError(
            f"{shown(path)} has a name of {longest} bytes; files and folders have "
            f"{_LONGEST_NAME} at most."
        )


def check_inside(path: str, what: str) -> str:
    """A way to something inside a group, as metadata and records name it.

    >>> check_inside("labels/nuclei", "path")
    'labels/nuclei'

    Raises
    ------
    ValueError
        If it leaves the group, or can be no key.
    """
    names = path.split("/")
    leaves = any(name in ("", ".", "..") or "\\" in name or "\0" in name for name in names)
    if leaves or any(len(name.encode(errors="replace")) > _LONGEST_NAME for name in names):
        raise ValueError(
            f"{what} is {shown(path)}; needed is the way to something inside the group"
        )
    return path


def _locate_url(url: str, *, read_only: bool) -> Location:
    parts = _parts_of(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ValueError(
                f"{without_secrets(url)} names a host; a local path is written file:///path."
            )
        return locate(unquote(parts.path), read_only=read_only)
    if parts.scheme not in _SCHEMES:
        raise ValueError(
            f"{without_secrets(url)} has scheme {parts.scheme!r}; needed is file or one of "
            f"{', '.join(_SCHEMES)}, or open the store yourself and pass it."
        )
    if not parts.netloc:
        raise ValueError(
            f"{without_secrets(url)} names no place; needed is {parts.scheme}://bucket/path, or "
            "host and path."
        )
    obstore = load_extra("obstore.store", f"Reading or writing {parts.scheme}:// URLs")
    # Whoever names an unencrypted endpoint wants it used.
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "") if parts.scheme.startswith("s3") else url
    options = {"allow_http": True} if endpoint.startswith("http://") else {}
    try:
        store = obstore.from_url(url, client_options=options)
    except Exception as error:  # noqa: BLE001 (obstore's own kinds, whose text has the secrets)
        raise ValueError(
            f"{without_secrets(url)} could not be opened: {type(error).__name__}: {said_by(error)}."
            " Account, key and region come from the environment (AZURE_STORAGE_ACCOUNT_NAME, "
            "AWS_REGION and so on); or open the store yourself and pass it."
        ) from None
    # The name is shown and recorded; the store has the credentials, and is neither.
    # Rooted at the place: in a store of the whole bucket, zarr makes groups of all around it.
    return Location(AwaitedStore(store, read_only=read_only), "", without_secrets(url).rstrip("/"))


def _parts_of(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a number, if any
        return parts
    except ValueError as error:
        raise ValueError(
            f"{without_secrets(url)} is no URL: {said_by(error)}. Needed is, for example, "
            "https://host:8080/image.zarr, or a path."
        ) from None


def _absolute(store: Store) -> Store:
    """The same store, independent of the working directory, and a folder as the folder it is."""
    if isinstance(store, LocalStore):
        return LocalStore(os.path.abspath(store.root), read_only=store.read_only)
    if isinstance(store, FsspecStore) and _protocol(store) in _LOCAL:
        # fsspec makes no folders, and its stores have neither atomic creation nor links.
        return LocalStore(os.path.abspath(store.path), read_only=store.read_only)
    return store


def _name_of(store: Store, path: str) -> str:
    store = _unwrapped(store)
    if isinstance(store, ObjectStore):
        scheme, *rest = _store_parts(store)
        url = f"{scheme.rstrip(':')}://{'/'.join(rest)}"
    elif isinstance(store, FsspecStore):
        path_or_url = without_secrets(store.path)
        url = path_or_url if "://" in path_or_url else f"{_protocol(store)}://{path_or_url}"
    elif type(store).__repr__ is object.__repr__ and type(store).__str__ is object.__str__:
        url = type(store).__name__
    else:
        url = redacted(str(store))
    return f"{url.rstrip('/')}/{path}".rstrip("/")


def _store_parts(store: Store) -> tuple[str, ...]:
    """Components that are the same for every store that shows the same place."""
    store = _unwrapped(store)
    address = _address(store)
    if address is not None:
        return address
    held: object = store.store if isinstance(store, ObjectStore) else store
    # A read-only view of a MemoryStore is another store with the same dictionary.
    return (f"{type(held).__name__} {id(getattr(held, '_store_dict', held))}",)


def _address(store: Store) -> tuple[str, ...] | None:
    """Components that other processes would give, too; None of a store that does not say them."""
    if isinstance(store, LocalStore):
        return ("file", *_resolved(store.root).parts)
    if isinstance(store, FsspecStore):
        scheme = _protocol(store)
        if scheme in _LOCAL:
            return ("file", *_resolved(store.path).parts)
        path = without_secrets(store.path).removeprefix(f"{scheme}://")
        names = filter(None, path.split("/"))
        if scheme in _AZURE:
            return ("azure", _account(getattr(store.fs, "account_name", None)), *names)
        return ("gcs" if scheme == "gs" else scheme, *names)
    if isinstance(store, ObjectStore):
        return _obstore_address(store.store)
    if isinstance(store, ZipStore):
        return ("file", *_resolved(store.path).parts)
    return None


def _unwrapped(store: Store) -> Store:
    """The store inside zarr's wrappers (logging and the like), which say so nowhere else."""
    while isinstance(store, WrapperStore):
        store = store._store
    return store


def _store_around(store: Store) -> Store | None:
    """The store of the place around one in a bucket; None of others, and of the bucket itself."""
    if isinstance(store, ObjectStore):
        held: Any = store.store  # obstore's: each kind of a bucket is made the same way
        around, _, name = str(getattr(held, "prefix", None) or "").strip("/").rpartition("/")
        if not name or type(held).__name__ not in _BUCKETS:
            return None
        options = {name: getattr(held, name) for name in _OPTIONS}
        outer = type(held)(prefix=around or None, **options)
        return AwaitedStore(outer, read_only=store.read_only)
    if type(store) is FsspecStore and _protocol(store) in (*_SCHEMES, "gcs"):
        around, _, name = store.path.strip("/").rpartition("/")
        if not around or not name or "://" in around:
            return None
        return FsspecStore(store.fs, read_only=store.read_only, path=around)
    return None


def _protocol(store: FsspecStore) -> str:
    protocol = store.fs.protocol
    return protocol if isinstance(protocol, str) else str(protocol[0])


def _account(said: str | None) -> str:
    """The account that a container of Azure is in; all that say none are in one."""
    return said or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")


def _obstore_address(store: object) -> tuple[str, ...] | None:
    prefix, config = str(getattr(store, "prefix", None) or ""), getattr(store, "config", None) or {}
    kind = type(store).__name__
    if kind == "LocalStore":
        return ("file", *_resolved(prefix or os.sep).parts)
    names = filter(None, prefix.split("/"))
    if kind == "AzureStore" and config.get("container_name"):
        return ("azure", _account(config.get("account_name")), config["container_name"], *names)
    if config.get("bucket"):
        return (kind.removesuffix("Store").lower(), config["bucket"], *names)
    url = getattr(store, "url", None)
    if url:
        return tuple(filter(None, without_secrets(str(url)).split("/")))
    return None
