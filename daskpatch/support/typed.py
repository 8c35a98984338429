"""Documents as values of a type, by msgspec, one at a time.

What msgspec knows of a type it finds out when it first meets it, and threads that meet one together
end the process (SIGSEGV in msgspec 0.22): images of a plate are opened side by side.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_LOCK = RLock()


@overload
def converted(
    value: object, kind: type[T], dec_hook: Callable[[type, Any], Any] | None = None
) -> T: ...
@overload
def converted(
    value: object, kind: Any, dec_hook: Callable[[type, Any], Any] | None = None
) -> Any: ...
def converted(value: object, kind: Any, dec_hook: Callable[[type, Any], Any] | None = None) -> Any:
    """Plain values, as of JSON, as a value of a type.

    Raises
    ------
    ValueError
        If they are none; `msgspec.ValidationError` names the field.

    Examples
    --------
    >>> converted([1, 2], tuple[int, int])
    (1, 2)
    """
    with _LOCK:
        return msgspec.convert(value, kind, dec_hook=dec_hook)


@overload
def decoded(content: bytes, kind: type[T]) -> T: ...
@overload
def decoded(content: bytes, kind: Any) -> Any: ...
def decoded(content: bytes, kind: Any) -> Any:
    """JSON as a value of a type.

    Raises
    ------
    ValueError
        If it is none; `msgspec.ValidationError` names the field.

    Examples
    --------
    >>> decoded(b"[1, 2]", tuple[int, int])
    (1, 2)
    """
    try:
        with _LOCK:
            return msgspec.json.decode(content, type=kind)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


_TOO_DEEP = "it is nested too deeply"
"""Of a text that would need more memory than Python has for calls inside calls."""


def parsed(content: str | bytes) -> Any:
    """JSON as plain values.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> parsed("[1, 2]")
    [1, 2]
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
