"""Messages that name options of Python, as the command line names them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from ..deciding import KINDS
from ..running import Run
from ..support import FILE, NAME, declarations
from .flags import parameter_of

_FLAGS = {
    parameter_of(declared): name.partition("/")
    for kind in (*KINDS, Run)
    for declared in declarations(kind).values()
    if (name := declared.flag_name()) is not None
}
"""By word: the flag, and the one that says no to it."""

_FLAGS |= {word: (f"--{word}", "", "") for word in ("places", "seed", "tolerance", "seconds")}
_FLAGS["client"] = ("--scheduler or --workers", "", "")

_WORD = "|".join(sorted(_FLAGS, key=len, reverse=True))
_LONG = "|".join(sorted((word for word in _FLAGS if "_" in word), key=len, reverse=True))

_NAMING = {
    name
    for kind in KINDS
    for declared in declarations(kind).values()
    if declared.parser in (NAME, FILE) and (name := declared.flag_name()) is not None
}
"""Flags whose value is the name of a file, or of what is in one."""

_NUMBERS = r"[-\d, ]+"
_TEXT = r"'[^',]*'|\"[^\",]*\""

_VALUES = rf"(?:{_NUMBERS}|(?:{_TEXT})(?:, (?:{_TEXT}))*)"

_OPTION = re.compile(
    rf"[\w.]+\([^()]*\)"  # a call in Python stays one
    rf"|(?<![\w.'/-])(?P<given>{_WORD})="
    rf"(?P<value>True|False|auto|…|-?\d+|{_TEXT}|\({_VALUES}\)|\[{_VALUES}\]"
    rf"|(?=[\s.,:;?)]|$))"
    rf"|(?<![\w.'/=-])(?P<bare>{_LONG})(?![\w'/=.-]\w|=)"
)


_FIRST = re.compile(rf"^(?:{_WORD})(?= )")
"""An option that a message begins with."""

_RECORDED = re.compile(
    rf"(?<![\w.])(?:tiling|layout|treatment|source|output)\.(?P<word>{_WORD})(?!\w)(?P<inside>(?:\.\w+)*)"
)
"""Fields of a record, which have the names of options."""

_URL = re.compile(r"\w+://")

_SUCH = re.compile(r"(?<=such as )[(\[]{1,2}-?\d+(?:\)?, \(?-?\d+)+[)\]]{1,2}")
"""Numbers as Python writes them, also several rows, for what flags take with commas alone."""

_OPENED = re.compile(r"Open (?:it|them) with (.+?), and pass that as the source, with axes=")
"""Nothing can be passed on a command line."""

_LAZY = re.compile(
    r"Open (?:it|them) with (\S+?)\.xarray_dask_data, and pass that as the source, with axes="
)
"""What bioio opens is a Dask array, which writes itself."""


_OR_NONE = re.compile(r",? or None\b(?=[.;:]|$)")
"""A value of Python's that no flag takes: the flag is left out."""

_RECORDED_VALUES = re.compile(
    r"(?P<flag>--[a-z-]+)(?P<inside>(?:\.\w+)*) was (?P<was>.+?) and is (?P<now>.+?)(?=[;.] |\.?$)"
)
"""What a refused resume says of an option."""

_NOT_GIVEN = re.compile(r"(--[a-z-]+) is None\b")

_NUMBERS_IN_A_ROW = r"\(-?\d+(?:, -?\d+)*,?\)"

_TUPLE = rf"(?:{_NUMBERS_IN_A_ROW}|\({_NUMBERS_IN_A_ROW}(?:, {_NUMBERS_IN_A_ROW})*\))"

_ROW = re.compile(rf"--[a-z-]+(?: is| holds)? {_TUPLE}")
"""Numbers of a flag as Python writes them."""

_FITTING = re.compile(
    rf"(?:fits? (?:is|are)|whole (?:chunks|write units)|align =) {_TUPLE}(?: or {_TUPLE})?"
)
"""What would do, as Python writes it."""

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

_ALL_FLAGS = {flag for names in _FLAGS.values() for flag in _FLAG.findall(" ".join(names))}


def as_typed(
    text: str,
    quoted: Sequence[str] = (),
    *,
    typed: Mapping[str, str] | None = None,
    flags: Collection[str] = (),
) -> str:
    """A message with flags instead of words, save in what it quotes: the user's own texts.

    `typed` is what was typed, by how Python writes the value that it became; `flags` are those of
    the command that was typed: others are `predict`'s.

    >>> as_typed("overlaps is -8; give patch_size, overwrite=True or axes='ZYX', channels=[0, 2]")
    '--overlaps is -8; give --patch-size, --overwrite or --axes ZYX, --channels 0,2'
    """
    text = _LAZY.sub(r"In Python save it as Zarr: \1.dask_data.to_zarr('image.zarr')", text)
    text = _OPENED.sub(r"In Python save it as Zarr: zarr.save_array('image.zarr', \1)", text)
    kept = sorted((each for each in quoted if each), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, kept))})", text) if kept else [text]
    parts[0] = _FIRST.sub(lambda found: _FLAGS[found[0]][0], parts[0])
    parts[::2] = [_in_flags(part, typed or {}, flags) for part in parts[::2]]  # others are quoted
    return "".join(parts)


def _in_flags(text: str, typed: Mapping[str, str], flags: Collection[str]) -> str:
    if typed:
        written = "|".join(map(re.escape, sorted(typed, key=len, reverse=True)))
        text = re.sub(rf"(?<= )({written})(?!\w|\.\w)", lambda found: typed[found[0]], text)
    text = _SUCH.sub(_bare, _OPTION.sub(_replaced, text))
    text = _RECORDED.sub(lambda found: f"{_FLAGS[found['word']][0]}{found['inside']}", text)
    text = _OR_NONE.sub(", or leave it out", text) if "--" in text else text
    text = _RECORDED_VALUES.sub(_compared, text)
    text = _NOT_GIVEN.sub(r"\1 is not given", text)
    text = _FITTING.sub(_bare_rows, _ROW.sub(_bare_rows, text))
    foreign = _ALL_FLAGS.difference(flags) if flags else ()
    return _FLAG.sub(lambda f: f"predict's {f[0]}" if f[0] in foreign else f[0], text)


def _compared(found: re.Match[str]) -> str:
    """An option as it was and as it is, both as they are typed."""
    part = found["inside"].replace(".", " ")
    was, now = (_as_value(found["flag"], found[each]) for each in ("was", "now"))
    return f"{found['flag']}{f' ({part.strip()})' if part else ''} was {was} and is {now}"


def _as_value(flag: str, text: str) -> str:
    if text in ("True", "False"):
        return "given" if text == "True" else "not given"
    if flag in _OF_RANGES:
        return re.sub(r"\((\d+), (\d+)\)", r"\1:\2", text).strip("(),").replace(", ", ",")
    if not text.startswith("("):
        return text
    once = _of_both_sides(text)
    return once.replace("), (", "/").replace(", ", ",").strip("(),").replace("'", "")


def _of_both_sides(text: str) -> str:
    """Pairs of two times the same number as that number."""
    return re.sub(r"\((\d+), \1\)(?=, \(|,?\))", r"\1", text)


_OF_RANGES = ("--box", "--region")


def _bare(found: re.Match[str]) -> str:
    """Numbers as they are typed: with commas, and slashes between rows."""
    return found[0].replace("), (", "/").replace(", ", ",").strip("()[],")


def _bare_rows(found: re.Match[str]) -> str:
    """Text with rows of numbers as they are typed."""
    return re.sub(_TUPLE, _bare, _of_both_sides(found[0]))


def with_flag(text: str, arguments: Sequence[str]) -> str:
    """A message after the flag whose file it speaks of, unless it names a flag by itself.

    >>> with_flag("net.py has no modle; it has model.", ["--model", "net.py:modle"])
    '--model net.py:modle: net.py has no modle; it has model.'
    """
    if "--" in text:
        return text
    split = [
        part
        for argument in arguments
        for part in (argument.split("=", 1) if argument.startswith("--") else [argument])
    ]
    files = [_file_in(value) for value in split]
    for (flag, value), file in zip(pairwise(split), files[1:], strict=True):
        # Of a file that is named twice it may speak in either place.
        if flag in _NAMING and file and _is_named(file, text) and files.count(file) == 1:
            return f"{flag} {value}: {text}"
    return text


def _is_named(file: str, text: str) -> bool:
    """Whether a text has the name of a file, and not only what lies in a folder of that name."""
    return re.search(rf"{re.escape(file)}(?![/\\\w])", text) is not None


def _file_in(value: str) -> str:
    """The file that a value names, also where something in it is named."""
    is_inside = not _URL.match(value) and ":" in value
    return value.rpartition(":")[0] if is_inside else value


def _replaced(found: re.Match[str]) -> str:
    word = found["given"] or found["bare"]
    if word is None:
        return found[0]
    flag, _, opposite = _FLAGS[word]
    value = found["value"] or ""
    if value in ("True", "False"):
        return flag if value == "True" else opposite or f"{flag} no"
    typed = value.strip("'\"()[]").replace(", ", ",").replace("'", "")
    return f"{flag} {typed}" if typed else flag
