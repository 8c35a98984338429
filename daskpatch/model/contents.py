"""What a model is made of, in named parts, so that a mismatch can say which part it is."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .code import TAG
from .installed import version_of

_NAMED = 64
"""Attributes and parameters that are recorded one by one."""

_DIGITS = 8

PartName = Literal["code", "weights", "attributes"]


class NoIdentityError(ValueError):
    """A value that cannot be told from another one in a later process."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One thing that a model is made of, where it is in it, and what it is.

    Attributes
    ----------
    holder
        The attribute or variable that holds it, which a call of the model may set; empty where
        none does.
    tree
        Of code: the same in all versions of Python; None where that is not at hand.
    """

    part: PartName
    path: str
    holder: str
    told: bytes
    tree: bytes | None = None


@dataclass(frozen=True)
class Parts:
    """A digest for each kind of thing that a model is made of; what is recorded of it.

    Attributes
    ----------
    tag
        The version of Python, and its level of optimisation, within which `bytecode` compares.
    trees
        Compares in all versions; None where the source of some code is not what was compiled.
    left_out
        Attributes and variables that a call of the model changes.
    held
        Of weights and of attributes: a digest of what each attribute, variable and parameter holds,
        so that a refusal can name it; empty where they are many.
    """

    tag: str
    bytecode: str
    trees: str | None
    weights: str
    attributes: str
    versions: dict[str, str]
    left_out: tuple[str, ...] = ()
    held: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """How to look at what a model is made of.

    Attributes
    ----------
    weights
        Whether to read those that a call does not change: parameters, files.
    left_out
        Attributes and variables not to look into.
    before
        An earlier look, for one that is to be compared with it.
    is_cursory
        Whether nothing is read, and what cannot be told is passed over: only what is met matters.
    """

    weights: bool = True
    left_out: tuple[str, ...] = ()
    before: Contents | None = None
    is_cursory: bool = False


WHOLE = Look()
"""At everything."""


@dataclass(frozen=True)
class Contents:
    """What a model is made of, in the order of a walk through it.

    Attributes
    ----------
    places
        Where each object was met, by its address; kept, so that no address is used twice.
    """

    leaves: tuple[Leaf, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[int, tuple[object, str]] = field(default_factory=dict, repr=False)

    def __add__(self, other: Contents) -> Contents:
        versions, places = (
            {**a, **b} for a, b in ((self.versions, other.versions), (self.places, other.places))
        )
        return Contents(self.leaves + other.leaves, versions, places)

    def changed_since(self, before: Contents) -> tuple[str, ...]:
        """The attributes and variables that hold something else than before."""
        ours, theirs = ({leaf for leaf in each.leaves if leaf.holder} for each in (self, before))
        holders = {leaf.holder for leaf in ours | theirs}
        changed = {_attribute(leaf.holder, holders) for leaf in ours ^ theirs}
        return tuple(sorted(name for name in changed if not _around(name) & changed))

    def parts(self, left_out: Iterable[str] = ()) -> Parts:
        """Digests; `left_out` is what the look left out."""
        code = [leaf for leaf in self.leaves if leaf.part == "code"]
        has_trees = all(leaf.tree is not None for leaf in code)
        return Parts(
            tag=TAG,
            bytecode=_folded((leaf.path, leaf.told) for leaf in code),
            trees=_folded((leaf.path, leaf.tree or b"") for leaf in code) if has_trees else None,
            weights=_folded(_told(self.leaves, "weights")),
            attributes=_folded(_told(self.leaves, "attributes")),
            versions={"python": ".".join(map(str, sys.version_info[:2])), **self.versions},
            left_out=tuple(left_out),
            held={"weights": self._held("weights"), "attributes": self._held("attributes")},
        )

    def _held(self, part: PartName) -> dict[str, str]:
        held: dict[str, list[tuple[str, bytes]]] = {}
        for leaf in self.leaves:
            if leaf.part == part:
                held.setdefault(leaf.holder or leaf.path, []).append((leaf.path, leaf.told))
        if len(held) > _NAMED:
            return {}
        return {name: _folded(told)[:_DIGITS] for name, told in held.items()}


_ENTRY = re.compile(r"(?<=.)(\.items|\.__new__)?(\[\d+\])+$")
"""What leads from a sequence to its entry, at the end of a path."""


def _attribute(holder: str, holders: Collection[str]) -> str:
    """What is changed: of a sequence all of it, for another call may change another entry."""
    whole = _ENTRY.sub("", holder)
    return whole if whole in holders else holder


CLASS = ".__class__"
"""After the path of an object: its class, which is compared whatever a call changes of it."""


def _around(path: str) -> set[str]:
    """The paths of what something is inside of, in the class that it is in."""
    inside = path.rfind(CLASS) + 1
    found = (each.start() for each in re.finditer(r"[.\[]", path))
    return {path[:end] for end in found if end >= inside}


def _told(leaves: Iterable[Leaf], part: PartName) -> Iterator[tuple[str, bytes]]:
    return ((leaf.path, leaf.told) for leaf in leaves if leaf.part == part)


def _folded(pieces: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for path, told in pieces:
        # Lengths between, so that `ab`, `c` and `a`, `bc` differ.
        for piece in (path.encode("utf-8", "surrogatepass"), told):
            digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def contents_of_files(
    weights: Mapping[str, str] | None = None,
    *,
    code: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
    package: str = "",
) -> Contents:
    """The contents of a model in files: digests of weights and of sources by their name.

    `settings` is what else changes its results, `package` what runs it.
    """
    leaves = [
        *(Leaf("weights", name, "", digest.encode()) for name, digest in (weights or {}).items()),
        *(
            Leaf("code", name, "", digest.encode(), digest.encode())
            for name, digest in (code or {}).items()
        ),
        *(
            Leaf("attributes", name, "", repr(value).encode())
            for name, value in (settings or {}).items()
        ),
    ]
    return Contents(tuple(leaves), {package: version_of(package)} if package else {})
