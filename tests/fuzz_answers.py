"""What may come of a try: a result, or an answer fit for its user; and nothing that is left."""

import os
import re
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import daskpatch

PACKAGE = Path(daskpatch.__file__).parent

DOCUMENTED = (
    ValueError, TypeError, FileNotFoundError, FileExistsError, MemoryError, RuntimeError,
    ImportError, OSError,
)  # fmt: skip

LONGEST = 500

_COMMON = ("None", "True", "False", "auto", "nan", "inf")
"""Words of sentences: they stand for a value behind the name of its option only."""

_PLACES = ("source", "output", "place")
"""Whose names may be short."""

_NEAR = 60
"""Letters between an option's name and a short value."""

_SHOWN = 60
"""Of a long value, what an answer shows at least."""

_PLAIN = (str, int, float, type(None), Path)
"""What is shown itself; of other values their type says enough."""

_POOLS = ("asyncio_", "zarr_pool", "daskpatch-codec")
"""Threads of event loops: so many of each at most, which begin when they are needed first."""

_PATIENCE = 5.0
"""Seconds in which threads that were told to end do so."""


class WrongAnswerError(AssertionError):
    """What came of a try is neither a result nor an answer."""


@contextmanager
def noted(**tried):
    """Have an error of a try say what was tried."""
    try:
        yield
    except Exception as error:
        error.add_note(f"tried: {tried}")
        raise


# Answers


def answered(call, given):
    """The result of a call and None; or None and the error that it is answered by.

    Raises
    ------
    WrongAnswerError
        If it is not: of another class, raised elsewhere, longer, or without a value that was given.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call(), None
        except Exception as error:
            check_answer(error, given)
            return None, error


def check_answer(error, given):
    text = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    problems = []
    if not isinstance(error, DOCUMENTED) or type(error) in (KeyError, IndexError):
        problems.append("its class is not documented")
    if PACKAGE not in Path(frames[-1].filename).parents:
        problems.append(f"it was raised in {frames[-1].filename}:{frames[-1].lineno}")
    if len(text) > LONGEST:
        problems.append(f"it has {len(text)} characters")
    if not names_a_value(text, given):
        problems.append("it names no value that was given")
    if problems:
        where = "".join(traceback.format_tb(error.__traceback__)[-2:])
        raise WrongAnswerError(
            f"{type(error).__name__}: {text}\n{'; '.join(problems)}\n{given}\n{where}"
        )


# Values in texts


def names_a_value(text, given):
    """Whether a text names one of some values: `given` has them by the name of their option."""
    return any(
        _stands_in(text, name.lstrip("-"), form)
        for name, value in given.items()
        for part in parts_of(value)
        for form in {str(part), repr(part)}
    )


def parts_of(value):
    """A value and what it is made of: entries, keys, the parts of `file.py:attribute`."""
    yield value.name if isinstance(value, np.dtype) else value
    if isinstance(value, partial):
        yield value.func.__name__
    if not isinstance(value, _PLAIN):
        yield f"a {type(value).__name__}"
    if hasattr(value, "__qualname__"):
        yield from (value.__name__, f"{value.__module__}.{value.__qualname__}")
    if isinstance(value, dict):
        yield tuple(value)
        for key, entry in value.items():
            yield key
            yield from parts_of(entry)
    elif isinstance(value, str) and re.search("[:,=]", value):
        yield from re.split("[:,=]", value)
    elif isinstance(value, list | tuple | np.ndarray):
        yield tuple(value)
        for entry in value:
            yield from parts_of(entry)


def changed(document, original):
    """What a document holds and its original does not: entries and keys."""
    known = {repr(part) for part in parts_of(original)}
    return [part for part in parts_of(document) if repr(part) not in known]


def _stands_in(text, name, form):
    """Whether the form of a value stands in a text as a word: a common one behind its name."""
    form = form[:_SHOWN]
    word = rf"(?<![\w.]){re.escape(form)}" + (r"(?!\w)" if len(form) < _SHOWN else "")
    is_plain = len(form) > 2 or name in _PLACES or form[:1] in ("'", '"')
    if not is_plain or form in _COMMON:
        word = rf"(?s){re.escape(name)}\b.{{1,{_NEAR}}}?{word}"
    return bool(form) and form in text and re.search(word, text) is not None


# What is left


@dataclass(frozen=True)
class Held:
    """What a process holds, and what lies in folders."""

    threads: frozenset[threading.Thread]
    descriptors: Counter
    files: dict[str, tuple[int, int]]

    def more_than(self, before):
        """What there is now and was not, in words; empty for nothing."""
        begun = [thread.name for thread in self.threads - before.threads]
        threads = [f"thread {name}" for name in begun if not name.startswith(_POOLS)]
        opened = [f"descriptor of {to}" for to in (self.descriptors - before.descriptors)]
        touched = self.files.items() ^ before.files.items()
        return ", ".join([*threads, *opened, *(f"file {name}" for name, _ in sorted(touched))])


def held(*folders):
    """What is held now, and the files of some folders."""
    return Held(frozenset(threading.enumerate()), _descriptors(), _files(*folders))


def _descriptors():
    found = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
        except FileNotFoundError:  # of this listing itself
            continue
    return found


def _files(*folders):
    """Size and time of all files and folders."""
    found = {}
    for folder in folders:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                found[entry.path] = (0, 0)
                found |= _files(entry.path)
            else:
                state = entry.stat(follow_symlinks=False)
                found[entry.path] = (state.st_size, state.st_mtime_ns)
    return found


@contextmanager
def nothing_left(given, *folders):
    """What a try must leave behind: the threads, descriptors and files that there were.

    Raises
    ------
    WrongAnswerError
        If it leaves others.
    """
    folders = (tempfile.gettempdir(), *folders)
    before = held(*folders)
    yield
    until = time.monotonic() + _PATIENCE
    while left := held(*folders).more_than(before):
        if time.monotonic() > until:
            raise WrongAnswerError(f"left behind: {left}\n{given}")
        time.sleep(0.001)
