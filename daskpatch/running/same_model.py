"""Whether the model that a run is resumed with is the one that it began with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from ..deciding import Code, Identity
from ..model import Parts
from ..receipts import RESUMED, GoingOn, IdentityRecord, Json
from ..support import redacted

_SHOWN = 16

_NAMED = 6
"""Digits of a digest that are compared and shown."""


def compared(recorded: IdentityRecord, current: Identity) -> tuple[Json, Json]:
    """Model and `post` as they are recorded, and as they are: what differs is another one.

    Code is compared as bytecode where the version of Python is the same, else as syntax trees,
    else not: the results decide. So they do where versions of packages differ.
    """
    was, now = {}, {}
    for name in ("model", "post", "skip_empty"):
        before, code = getattr(recorded, name), current.codes.get(name)
        was[name], now[name] = _pair(name, before, code, decide=recorded.results is not None)
    return was, now


def check_unchanged(identity: Identity) -> None:
    """Refuse a model, or a `post`, that is not what it was when its plan was made.

    Raises
    ------
    ValueError
        If it was changed since; what differs is named.
    FileNotFoundError
        If its file is gone.
    """
    for name, code in identity.codes.items():
        told = code.told
        if not isinstance(told, Parts):
            continue
        try:
            now = code.now()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The {name} {code.shared.handle.name} is gone since this plan was made: no file "
                f"{redacted(str(error.filename))}. Put it back, or make the plan anew "
                "(daskpatch.plan)."
            ) from error
        assert isinstance(now, Parts), "it could be told before"
        was, is_ = _digests(told.bytecode, told), _digests(now.bytecode, now)
        if was != is_:
            raise ValueError(
                f"The {name} {code.shared.handle.name} is not what it was when this plan was made: "
                f"{', '.join(_differing(was, is_, told, now))} changed. Make the plan anew "
                "(daskpatch.plan)."
            )


def _differing(was: dict[str, str], now: dict[str, str], before: Parts, after: Parts) -> list[str]:
    """The parts that differ, with the names of weights and attributes where they are known."""
    told = []
    for part in (part for part in was if was[part] != now[part]):
        one, other = before.held.get(part, {}), after.held.get(part, {})
        names = [n.removeprefix("model.") for n in {**one, **other} if one.get(n) != other.get(n)]
        told.append(f"{part} ({', '.join(names[:_NAMED])})" if names else part)
    return told


def check_same_results(
    recorded: IdentityRecord, current: Identity, name: str, going_on: GoingOn = RESUMED
) -> None:
    """Refuse a model that gives other values.

    Raises
    ------
    ValueError
        If the values that are recorded are others.
    """
    if recorded.results and not current.results:
        raise ValueError(
            f"{name} cannot be {going_on.done}: the model that the run began with gave the same "
            "values for one tile each time, and this one gives other ones when it is called again, "
            f"or fails on it (the log says which). Give that model{going_on.or_anew}."
        )
    for before, now in zip(recorded.results or (), current.results or (), strict=False):
        for output, sample in before.items():
            there = now.get(output)
            how = "no such array" if there is None else sample.how_differs(there)
            if how:
                of = f" ({output})" if output else ""
                raise ValueError(
                    f"{name} cannot be {going_on.done}: the model gives other values than the one "
                    f"that the run began with, on the same tile{of}: {how}. Give that model"
                    f"{going_on.or_anew}."
                )


def _pair(
    name: str, before: Parts | str | None, code: Code | None, *, decide: bool
) -> tuple[object, object]:
    if not isinstance(before, Parts) or code is None or code.contents is None:
        told = None if code is None else code.told
        return _shown(name, before), _shown(name, told)
    now = code.without(before.left_out)
    was, is_ = _digests_of_both(before, now, decide=decide)
    for other in _otherwise(before, code) if was != is_ else ():
        if was == _digests_of_both(before, other, decide=decide)[1]:
            now, is_ = other, was
            break
    if was == is_:
        has_code = _code_of(before, now)[0] is not None
        _warn_of_what_results_decide(name, before, now, has_code=has_code)
    return _by_name(was, before, is_), _by_name(is_, now, was)


def _otherwise(before: Parts, code: Code) -> Iterator[Parts]:
    """In what other states a model that its calls change is the recorded one, too."""
    # What the calls of now put there was not there when the run began: another tile's, say.
    added = set(code.changed_by_now()) - set(before.left_out)
    yield code.without((*before.left_out, *sorted(added)))
    # Two calls in turn may have left it as it was when the run began, and one of now has not.
    if code.before is not None and not before.left_out:
        yield code.before.parts()


def _digests_of_both(
    before: Parts, now: Parts, *, decide: bool
) -> tuple[dict[str, str], dict[str, str]]:
    code_was, code_is = _code_of(before, now)
    if code_was is None and not decide:  # nothing to tell it by at all
        code_was, code_is = before.bytecode, now.bytecode
    return _digests(code_was or "", before), _digests(code_is, now)


def _by_name(told: dict[str, str], parts: Parts, other: dict[str, str]) -> dict[str, object]:
    """With weights and attributes one by one, where they differ and are known."""
    held = {part: parts.held.get(part) for part in told if told[part] != other[part]}
    named = {
        part: {name.removeprefix("model."): digest for name, digest in each.items()}
        for part, each in held.items()
        if each
    }
    return {**told, **named}


def _digests(code: str, parts: Parts) -> dict[str, str]:
    named = {"code": code, "weights": parts.weights, "attributes": parts.attributes}
    return {name: digest[:_SHOWN] for name, digest in named.items()}


def _warn_of_what_results_decide(name: str, before: Parts, now: Parts, *, has_code: bool) -> None:
    if not has_code:
        reason = (
            f"The code of {name} cannot be compared: the run began with {before.tag}, this is "
            f"{now.tag}, and the source is not at hand."
        )
    elif before.versions != now.versions:
        reason = f"Since the run began, {_changes(before.versions, now.versions)}."
    else:
        return
    warnings.warn(
        f"{reason} Whether {name} is the same, its results on one tile decide.", stacklevel=2
    )


def _code_of(before: Parts, now: Parts) -> tuple[str | None, str]:
    has_trees = before.trees is not None and now.trees is not None
    # Since Python 3.13 bytecode depends on line breaks: an equal tree is the same code, too.
    if has_trees and (before.trees == now.trees or before.tag != now.tag):
        return before.trees, now.trees or ""
    return (before.bytecode, now.bytecode) if before.tag == now.tag else (None, "")


def _shown(name: str, told: Parts | str | None) -> str | None:
    return (
        "told by its code and weights" if isinstance(told, Parts) else told and f"{name}_id {told}"
    )


def _changes(before: dict[str, str], now: dict[str, str]) -> str:
    return ", ".join(
        f"{package} {before.get(package) or 'none'} became {now.get(package) or 'none'}"
        for package in sorted({*before, *now})
        if before.get(package) != now.get(package)
    )
