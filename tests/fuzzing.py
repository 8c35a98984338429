"""Random tries, seeded: values that are right, nearly right and wrong."""

import copy
import os
import random

from daskpatch.support import declarations

ODD = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, float("nan"), float("inf"), "",
    "x", "0", "nan", "../..", "é" * 20, [], {}, [None], [[1]], {"a": 1}, [0, 0], [-1, 2], "a" * 999,
    [1] * 400,
]  # fmt: skip
"""Whatever a document may hold in the place of what it should."""


def attempts(default):
    """How many tries: fewer in CI than once in a while (`DASKPATCH_TRIES=50000`)."""
    total = int(os.environ.get("DASKPATCH_TRIES", "5000"))
    return max(1, default * total // 5000)


def seeds(name, count):
    """A generator for each try, the same in every run."""
    for number in range(count):
        yield random.Random(f"{name} {number}")


def chosen(pool, rng, most, odd=()):
    """Some options by name, of their candidates; those in `odd` may be anything, now and then."""
    names = rng.sample(list(pool), rng.randint(0, most))
    picked = {
        name: rng.choice(ODD if name in odd and rng.random() < 0.1 else pool[name])
        for name in names
    }
    return {n: copy.deepcopy(v) if isinstance(v, dict | list) else v for n, v in picked.items()}


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


def files_in(folder):
    """Files of a folder, and what is in them."""
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def packed(words, kinds):
    """Options with those of some kinds of values as such a value: `tiles=Tiles(patch_size=8)`."""
    words = dict(words)
    for name, kind in kinds.items():
        fields = {each.word or name: each.name for each in declarations(kind).values()}
        if name in words and name not in fields:
            continue
        own = [word for word in words if word in fields]
        words[name] = kind(**{fields[word]: words.pop(word) for word in own})
    return words
