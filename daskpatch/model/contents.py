"""What a model is made of, in named parts, so that a mismatch can say which part it is."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .code import TAG
from .installed import version_of

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
    """

    tag: str
    bytecode: str
    trees: str | None
    weights: str
    attributes: str
    versions: dict[str, str]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a model is made of, in the order of a walk through it."""

    leaves: tuple[Leaf, ...]
    versions: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Contents) -> Contents:
        return Contents(self.leaves + other.leaves, {**self.versions, **other.versions})

    def changed_since(self, before: Contents) -> tuple[str, ...]:
        """The attributes and variables that hold something else than before."""
        ours, theirs = ({leaf for leaf in each.leaves if leaf.holder} for each in (self, before))
        changed = sorted({leaf.holder for leaf in ours ^ theirs})
        return tuple(name for name in changed if not _is_within(name, (*{*changed} - {name},)))

    def parts(self, left_out: Iterable[str] = ()) -> Parts:
        """Digests, without what some attributes and variables hold."""
        names = tuple(left_out)
        kept = [leaf for leaf in self.leaves if not _is_within(leaf.path, names)]
        code = [leaf for leaf in kept if leaf.part == "code"]
        has_trees = all(leaf.tree is not None for leaf in code)
        return Parts(
            tag=TAG,
            bytecode=_folded((leaf.path, leaf.told) for leaf in code),
            trees=_folded((leaf.path, leaf.tree or b"") for leaf in code) if has_trees else None,
            weights=_folded(_told(kept, "weights")),
            attributes=_folded(_told(kept, "attributes")),
            versions={"python": ".".join(map(str, sys.version_info[:2])), **self.versions},
            left_out=names,
        )


def _is_within(path: str, names: Iterable[str]) -> bool:
    return any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in names)


def _told(leaves: Iterable[Leaf], part: PartName) -> Iterator[tuple[str, bytes]]:
    return ((leaf.path, leaf.told) for leaf in leaves if leaf.part == part)


def _folded(pieces: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for path, told in pieces:
        # Lengths between, so that `ab`, `c` and `a`, `bc` differ.
        for piece in (path.encode(), told):
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
