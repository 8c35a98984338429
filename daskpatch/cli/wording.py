"""Messages that name options of Python, as the command line names them."""

from __future__ import annotations

import re

from ..deciding import KINDS
from ..running import Run
from ..support import declarations
from .flags import parameter_of

_FLAGS = {
    parameter_of(declared): name.partition("/")[0]
    for kind in (*KINDS, Run)
    for declared in declarations(kind).values()
    if (name := declared.flag_name()) is not None
}

_WORD = "|".join(sorted(_FLAGS, key=len, reverse=True))
_LONG = "|".join(sorted((word for word in _FLAGS if "_" in word), key=len, reverse=True))

_OPTION = re.compile(
    rf"[\w.]+\([^()]*\)"  # a call in Python stays one
    rf"|(?<![\w.'-])(?P<given>{_WORD})=(?P<value>'[^']*'|\"[^\"]*\"|\([^()]*\)|\[[^][]*\]|\w+|…|)"
    rf"|^(?P<first>{_WORD})(?= )"
    rf"|(?<![\w.'-])(?P<bare>{_LONG})(?![\w'])"
)


def as_typed(text: str) -> str:
    """A message with flags instead of words.

    >>> as_typed("overlaps is -8; give patch_size, overwrite=True or axes='ZYX', channels=[0, 2]")
    '--overlaps is -8; give --patch-size, --overwrite or --axes ZYX, --channels 0,2'
    """
    return _OPTION.sub(_replaced, text)


def _replaced(found: re.Match[str]) -> str:
    word = found["given"] or found["first"] or found["bare"]
    if word is None:
        return found[0]
    value = found["value"] or ""
    if value == "True":
        return _FLAGS[word]
    typed = value.strip("'\"()[]").replace(", ", ",")
    return f"{_FLAGS[word]} {typed}" if typed else _FLAGS[word]
