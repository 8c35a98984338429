"""The walk itself: a queue of what is still to be looked at, and what was told so far.

Values are told by where they are (a path of names), never by address, file name, line, or an order
that chance made. What is met again is told by where it was met first.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from ...support import all_said_by, cause_of
from ..contents import CLASS, WHOLE, Contents, Leaf, Look, NoIdentityError, PartName
from ..installed import is_library_class, version_of

PLAIN = {bool, float, complex, str, bytes, range, type(None), type(Ellipsis)}
"""Types whose values their repr tells from others."""


@dataclass(frozen=True)
class _Visit:
    """Something that is still to be looked at; `is_foreign` in what a package made for itself."""

    value: Any
    path: str
    holder: str
    is_foreign: bool


@dataclass
class Walk:
    """What is found out about one value, and all that it uses.

    Attributes
    ----------
    look
        What is looked at.
    look_at
        Called with the walk and each new value, its path and its holder: tells what it is made of.
    is_foreign
        Whether what is looked at now is what a package made for itself: what cannot be told there
        is passed over.
    """

    look: Look
    look_at: Callable[[Walk, Any, str, str], None]
    is_foreign: bool = False
    leaves: list[Leaf] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    met: dict[int, tuple[object, str]] = field(default_factory=dict)
    # A queue, not calls within calls: a model may be a chain of hundreds of functions.
    _coming: deque[_Visit] = field(default_factory=deque)
    _held: Counter[str] = field(default_factory=Counter)

    def contents(self, begin: Callable[[Walk], None]) -> Contents:
        """What it finds from what `begin` tells it to visit.

        Raises
        ------
        NoIdentityError
            If something cannot be told; it says where that is.
        """
        self._left_out = set(self.look.left_out)
        before = self.look.before
        self._known = {} if before is None else before.places
        self._elsewhere: dict[int, tuple[object, str]] = {}
        begin(self)
        self._go_on()
        # What an earlier look met at a place where it is no longer.
        for known, path in list(self._elsewhere.values()):
            if id(known) not in self.met:
                self._elsewhere = {}
                self._known = {}
                self.visit(known, path, path)
        self._go_on()
        return Contents(tuple(self.leaves), self.versions, self.met)

    def _go_on(self) -> None:
        while self._coming:
            coming = self._coming.popleft()
            self.is_foreign = coming.is_foreign
            try:
                self.look_at(self, coming.value, coming.path, coming.holder)
            except NoIdentityError:
                if not self._passes_over(coming):
                    raise
            except Exception as error:  # noqa: BLE001 (the user's classes may do anything)
                if not self._passes_over(coming):
                    told = f"{coming.path}: {type(error).__name__}: {all_said_by(error)}"
                    raise NoIdentityError(told) from cause_of(error)

    def _passes_over(self, coming: _Visit) -> bool:
        return self.look.is_cursory or coming.is_foreign or self._put_there(coming)

    def _put_there(self, coming: _Visit) -> bool:
        """Whether what cannot be told came since an earlier look, which told all."""
        if self.look.before is None or not coming.holder:
            return False
        self.add("attributes", coming.path, coming.holder, "what cannot be told")
        return True

    def visit(self, value: object, path: str, holder: str) -> None:
        """Look at a value, unless it was met before."""
        kind = type(value)
        if kind is int:
            assert isinstance(value, int)
            self.add("attributes", path, holder, f"int {value:x}")
        elif kind in PLAIN or isinstance(value, np.dtype | PurePath):
            told = description_of_dtype(value) if isinstance(value, np.dtype) else repr(value)
            self.add("attributes", path, holder, f"{kind.__name__} {told}")
            if isinstance(value, np.dtype) and value.metadata is not None:
                self.visit(dict(value.metadata), f"{path}.metadata", holder)
        elif id(value) in self.met:
            self.add("attributes", path, holder, f"as {self.met[id(value)][1]}")
        elif id(value) in self._known and self._known[id(value)][1] != path:
            # Told where it was before: a call may have put it in a second place.
            self._elsewhere[id(value)] = (value, self._known[id(value)][1])
            self.add("attributes", path, holder, f"as {self._known[id(value)][1]}")
        else:
            self.met[id(value)] = (value, path)
            self.add("attributes", path, holder, kind.__name__)
            self._coming.append(_Visit(value, path, holder, self.is_foreign))

    def in_order(self, items: Iterable[object]) -> list[Any]:
        """Items of a set, by what they are made of: their own order is that of hashes."""
        return sorted(items, key=self._order_of)

    def _order_of(self, item: object) -> str:
        if type(item) in PLAIN or type(item) is int:
            return f"{type(item).__name__} {item!r}"
        walk = Walk(WHOLE, self.look_at)
        return repr(walk.contents(lambda each: each.visit(item, "model", "")).leaves)

    def add(self, part: PartName, path: str, holder: str, told: str) -> None:
        """Tell something of a place."""
        self.leaves.append(Leaf(part, path, holder, told.encode("utf-8", "surrogatepass")))

    def add_code(self, path: str, holder: str, told: str, tree: str | None) -> None:
        """Tell code: as this version of Python has it, and as all have it."""
        tree_told = None if tree is None else tree.encode("utf-8", "surrogatepass")
        told_bytes = told.encode("utf-8", "surrogatepass")
        self.leaves.append(Leaf("code", path, holder, told_bytes, tree_told))

    def hold(self, value: object, path: str) -> None:
        """Look at what an attribute, a variable or an entry holds, unless it is left out.

        A second thing of that path, such as an attribute of a function that has the name of a
        variable, has one of its own: a call may change one of them alone.
        """
        self._held[path] += 1
        if self._held[path] > 1:
            path = f"{path}~{self._held[path]}"
        if path not in self._left_out:
            self.visit(value, path, path)
        else:
            self._visit_code_of(value, path)

    def _visit_code_of(self, value: object, path: str) -> None:
        """Of what a call changes: what it does, of a class of the user's own, is a part of it."""
        if not is_library_class(type(value)):
            self.visit(type(value), f"{path}{CLASS}", "")
        if isinstance(value, defaultdict):
            self.visit(value.default_factory, f"{path}.default_factory", "")

    def tell(self, told: str, path: str, holder: str) -> None:
        """Tell something of a place, unless what holds it is left out."""
        if holder not in self._left_out:
            self.add("attributes", path, holder, told)

    def hold_all(self, value: object, path: str) -> None:
        """Look at all attributes of an object."""
        for name in sorted(vars(value)):
            self.hold(vars(value)[name], f"{path}.{name}")

    def add_library(self, module: str, name: str, path: str) -> None:
        """Something of an installed package: its name, and the package's version."""
        top = module.partition(".")[0]
        if version_of(top):
            self.versions[top] = version_of(top)
        told = f"{module}:{name}"
        self.add_code(path, "", told, told)

    @contextmanager
    def foreign(self) -> Iterator[None]:
        """Around what is told only as far as it can be."""
        before, self.is_foreign = self.is_foreign, True
        yield
        self.is_foreign = before


def description_of_dtype(dtype: np.dtype[Any]) -> str:
    """What tells a dtype from others, that of a record too."""
    return repr(dtype.descr) if dtype.names is not None else dtype.str
