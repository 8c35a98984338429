"""Random tries, seeded: values that are right, nearly right and wrong; what may come of them."""

import copy
import os
import random
import threading
import traceback
import warnings
from pathlib import Path

import numpy as np

import daskpatch

PACKAGE = Path(daskpatch.__file__).parent

DOCUMENTED = (
    ValueError, TypeError, FileNotFoundError, FileExistsError, MemoryError, RuntimeError,
    ImportError, OSError,
)  # fmt: skip

LONGEST = 500

ODD = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, float("nan"), float("inf"), "",
    "x", "0", "nan", "../..", "é" * 20, [], {}, [None], [[1]], {"a": 1}, [0, 0], [-1, 2], "a" * 999,
]  # fmt: skip
"""Whatever a document may hold in the place of what it should."""


class WrongAnswerError(AssertionError):
    """What came of a try is neither a result nor an answer."""


def attempts(default):
    """How many tries: fewer in CI than once in a while (`DASKPATCH_TRIES=50000`)."""
    total = int(os.environ.get("DASKPATCH_TRIES", "5000"))
    return max(1, default * total // 5000)


def answered(call, given):
    """The result of a call and None; or None and the error that it is answered by.

    Raises
    ------
    WrongAnswerError
        If it is not: of another class, raised elsewhere, longer, or without a word of what came.
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
    if not any(name in text for name in names_of(given)):
        problems.append("it names nothing that was given")
    if problems:
        where = "".join(traceback.format_tb(error.__traceback__)[-2:])
        raise WrongAnswerError(
            f"{type(error).__name__}: {text}\n{'; '.join(problems)}\n{given}\n{where}"
        )


def names_of(given):
    """Texts by which an answer may name what was given: names of options, values, parts of them."""
    for name, value in given.items():
        yield from {name, name.lstrip("-")}
        for part in parts_of(value):
            # A digit is in any text.
            yield from (text for text in (str(part), repr(part)) if len(text) > 1)


def parts_of(value):
    yield value
    if isinstance(value, dict):
        for key, entry in value.items():
            yield key
            yield from parts_of(entry)
    elif isinstance(value, str) and ":" in value:
        yield from value.split(":")  # file.py:attribute
    elif isinstance(value, list | tuple):
        yield tuple(value)
        for entry in value:
            yield from parts_of(entry)


def mutated(document, rng):
    """A document of JSON with one or two of its entries replaced, deleted, doubled or renamed."""
    found = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 2])):
        holder, key = rng.choice(list(places_in(found)))
        change = rng.random()
        if change < 0.6:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        elif change < 0.8:
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[f"{key}{rng.choice('xX1')}"] = holder.pop(key)
        if not found:
            return found
    return found


def places_in(document):
    """Where values lie in a document: each holder and key."""
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(entries):
        yield document, key
        if isinstance(value, dict | list) and value:
            yield from places_in(value)


def broken_text(text, rng):
    """A text that is cut, has a letter changed, or is none."""
    at = rng.randrange(len(text))
    return rng.choice([text[:at], text[:at] + rng.choice('"{[]},:x\n\x00') + text[at + 1 :], ""])


def held():
    """What a process holds: threads and descriptors."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def files_in(folder):
    """Files of a folder, and what is in them."""
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def chosen(pool, rng, most):
    """Some options by name, of their candidates."""
    names = rng.sample(list(pool), rng.randint(0, most))
    return {name: copy.deepcopy(rng.choice(pool[name])) for name in names}


def some_axes(rng):
    """Axes: mostly right."""
    if rng.random() < 0.15:
        return rng.choice(["", "XY", "ZYXC", "YXQ", "YY", "yx", "TCZYXS", 3, None, "CX", "Z"])
    held_ = [a for a in "STCZ" if rng.random() < 0.3] + ["Y", "X"]
    rng.shuffle(held_)
    return "".join(held_)


def some_shape(axes, rng):
    ndim = len(axes) if isinstance(axes, str) and axes else 2
    if rng.random() < 0.05:
        ndim += rng.choice([-1, 1])
    return tuple(rng.choice([1, 2, 3, 5, 8, 13, 20]) for _ in range(max(ndim, 0)))


def seeds(name, count):
    """A generator for each try, the same in every run."""
    for number in range(count):
        yield random.Random(f"{name} {number}")
