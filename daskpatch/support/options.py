"""Options, each declared once: as a field of a small frozen value.

```
@dataclass(frozen=True, repr=False)
class Limits(Options):
    threads: int | None = option(None, help="Blocks in work at a time.", example=2)
```

A field says all that there is to say of its option: type, default, check, help, flag, and whether a
run depends on it. The verbs' signatures, the command line, provenance, fingerprint, repair and the
plan's text are derived from that; beside it the name stands once more, in a `TypedDict` for type
checkers.
"""

from __future__ import annotations

import difflib
import errno
import inspect
import re
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from .parsing import Parser
from .redaction import cause_of, redacted, said_by, text_of
from .wording import shown

T = TypeVar("T")
KindT = TypeVar("KindT", bound="Options")
FunctionT = TypeVar("FunctionT", bound=Callable[..., object])

_KEY = "daskpatch"

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a field says of its option, beside its type.

    Attributes
    ----------
    name
        Of the field.
    word
        The flat word that the verbs take; None where the field is the plain thing itself.
    default
        `MISSING` where there is none.
    help
        One line.
    check
        Given the word and a value: the value in its normal form, or a `ValueError` or `TypeError`.
    flag
        On the command line; None where it is not an option there.
    parser
        Of the flag's text, or the choices that there are; None takes the text.
    bare
        The text that the flag stands for when it is given alone; empty where it needs one.
    guard
        The field of the fingerprint in which it is recorded, so that a run is not resumed with
        another value.
    shows_in
        The field in which it shows, where that is written by others: `source` has axes. Without
        either no voxel depends on the option.
    record
        Given the value that holds the option: what is recorded, as JSON, None for nothing; by
        default the field, unless it is at its default.
    restore
        The field out of what was recorded; by default that itself.
    say
        Given the value that holds the option, and the number of spatial axes: a line of the plan's
        text, empty for none.
    example
        Another value than the default.
    """

    name: str
    word: str | None
    default: object
    help: str
    check: Callable[[str, Any], object] | None
    flag: str | None
    parser: Parser | tuple[str, ...] | None
    bare: str
    guard: str
    shows_in: str
    record: Callable[[Any], object] | None
    restore: Callable[[Any], object] | None
    say: Callable[[Any, int], str] | None
    example: object

    @property
    def is_required(self) -> bool:
        return self.default is MISSING

    def flag_name(self) -> str | None:
        """`--patch-size`, or `--resume/--no-resume` of what is true or false."""
        if self.flag is None or self.flag:
            return self.flag
        plain = (self.word or self.name).replace("_", "-")
        return f"--{plain}/--no-{plain}" if isinstance(self.default, bool) else f"--{plain}"

    def recorded(self, holder: Options) -> object:
        """What is recorded of it; None for nothing."""
        if not self.guard:
            return None
        if self.record is not None:
            return self.record(holder)
        held = getattr(holder, self.name)
        return None if _same(held, self.default) else held


def option(
    default: T,
    *,
    help: str,  # noqa: A002 (what the command line calls it)
    example: object,
    word: str | None = "",
    check: Callable[[str, Any], object] | None = None,
    flag: str | None = "",
    parser: Parser | tuple[str, ...] | None = None,
    bare: str = "",
    guard: str = "",
    shows_in: str = "",
    record: Callable[[Any], object] | None = None,
    restore: Callable[[Any], object] | None = None,
    say: Callable[[Any, int], str] | None = None,
) -> T:
    """Declare an option, as the default of a field of `Options`.

    A `word` of "" is the field's name, a `flag` of "" is made from the word. An option that voxels
    depend on has a `guard`, or says where it `shows_in`; without, it says that they don't.
    """
    declared = {name: value for name, value in locals().items() if name != "default"}
    made: T = field(default=default, metadata={_KEY: declared})
    return made


def required(**declared: Any) -> Any:
    """An option without a default."""
    return option(MISSING, **declared)


def _checked(kind: type[Options], declared: Declaration, value: object) -> object:
    """A value in its normal form; whatever else goes wrong in its check says which option it is.

    Raises
    ------
    Exception
        What the check raises by itself; a `ValueError` where the value's own code fails, or a
        library that was asked.
    """
    assert declared.check is not None, "looked at by whoever asks"
    word = declared.word or kind.__name__.lower()  # of the plain thing itself
    try:
        return declared.check(declared.word or declared.name, value)
    except Exception as error:
        if _is_of_a_check(error, word):
            raise
        told = f"{type(error).__name__}: {said_by(error)}"
        raise ValueError(
            f"{word} is {shown(value)}, which cannot be understood ({told}); give a plain value."
        ) from cause_of(error)


_KNOWN = ("builtins", "daskpatch", "msgspec")
"""Packages whose kinds of errors checks raise."""


def _is_of_a_check(error: Exception, word: str) -> bool:
    """Whether this package raised an error: of files, as the system did."""
    if isinstance(error, MemoryError | Warning):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    is_known = type(error).__module__.partition(".")[0] in _KNOWN
    is_ours = is_known and _PACKAGE in Path(frames[-1].filename).parents
    if isinstance(error, OSError):
        is_systems = error.errno is not None
        return error.errno != errno.ENAMETOOLONG and (is_systems or is_ours)
    if isinstance(error, ValueError | TypeError):
        # What Python and NumPy raise for our own code, in C, has no frame, and knows no option.
        return is_ours and re.search(rf"\b{word}\b", text_of(error)) is not None
    return is_ours and isinstance(error, ImportError | LookupError)


class Options:
    """Base of the values: a frozen dataclass whose fields are options.

    Fields are brought to their normal form when it is made; its repr leaves out defaults.

    Raises
    ------
    TypeError
        If it is given a field that it does not have: which was meant, or which it has.
    """

    def __new__(cls, *_given: object, **named: object) -> Self:
        own = declarations(cls)
        for name in named.keys() - own.keys():
            hint = (
                _hint(name, list(own))
                or f"It has {', '.join(name for name in own if name[0] != '_')}."
            )
            raise TypeError(
                f"{cls.__name__}() got an unexpected keyword argument {shown(name)}. {hint}"
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for declared in declarations(type(self)).values():
            if declared.check is not None:
                value = _checked(type(self), declared, getattr(self, declared.name))
                # The one place where options are changed: while they are made.
                object.__setattr__(self, declared.name, value)
        self._check()

    def _check(self) -> None:
        """Refuse fields that don't go together."""

    def __repr__(self) -> str:
        told = (
            redacted(f"{declared.name}={value!r}")
            for declared, value in changed(self)
            if not declared.name.startswith("_")
        )
        return f"{type(self).__name__}({', '.join(told)})"


def changed(value: Options) -> Iterator[tuple[Declaration, Any]]:
    """The options of a value that are not at their defaults."""
    for declared in declarations(type(value)).values():
        held = getattr(value, declared.name)
        if not _same(held, declared.default):
            yield declared, held


def _same(held: object, default: object) -> bool:
    # Values may be arrays, whose comparison is no truth.
    return held is default or (type(held) is type(default) and repr(held) == repr(default))


def declarations(kind: type[Options]) -> dict[str, Declaration]:
    """The options of a kind of values, by the name of their field."""
    if kind not in _declared:
        _declared[kind] = _read(kind)
    return _declared[kind]


_declared: dict[type[Options], dict[str, Declaration]] = {}


def _read(kind: type[Options]) -> dict[str, Declaration]:
    found = {}
    # A dataclass by its decorator; those that are given by name alone come last, as in a call.
    for each in sorted(fields(kind), key=lambda each: bool(each.kw_only)):  # type: ignore[arg-type]
        told = dict(each.metadata[_KEY])
        told["word"] = each.name if told["word"] == "" else told["word"]
        found[each.name] = Declaration(name=each.name, default=each.default, **told)
    return found


def narrowed_to(kind: type[KindT], holder: KindT) -> KindT:
    """The options of a kind alone, out of a value that has others, too."""
    return kind(**{name: getattr(holder, name) for name in declarations(kind)})


def with_parameters_of_bases(kind: type[T]) -> type[T]:
    """A class of options whose documentation has those of its bases, each written where it is."""
    first, *others = (inspect.getdoc(each) or "" for each in (kind, *reversed(kind.__bases__)))
    told, raises, rest = first.partition("\n\nRaises\n")
    further = [each.partition("\n----------\n")[2].partition("\n\nRaises\n")[0] for each in others]
    kind.__doc__ = "\n".join([told, *further]) + raises + rest
    return kind


def words_of(kind: type[Options]) -> dict[str, Declaration]:
    """The options of a kind of values, by their flat word."""
    return {told.word: told for told in declarations(kind).values() if told.word is not None}


def taken(
    kind: type[KindT], given: object, words: dict[str, Any], name: str, plain: str = ""
) -> KindT:
    """The value of a kind: the one that was given, or made from a plain thing and flat words.

    The kind's own words are taken out of `words`. `name` is what the verb calls what was given,
    `plain` the field that the plain thing is: by default the one without a word, if there is one.

    Raises
    ------
    TypeError
        If a value comes together with a flat word of it.
    """
    own = {word: words.pop(word) for word in words_of(kind) if word in words}
    if isinstance(given, kind):
        if own:
            said = ", ".join(own)
            raise TypeError(
                f"{name} is a {kind.__name__}, and {said} was given beside it: a {kind.__name__} "
                f"says that itself. Give {kind.__name__}({'=…, '.join(_fields(kind, own))}=…), or "
                "the plain thing with words."
            )
        return given
    named = {words_of(kind)[word].name: value for word, value in own.items()}
    wordless = (told.name for told in declarations(kind).values() if told.word is None)
    plain = plain or next(wordless, "")
    if plain and plain in named and given is not None:
        raise TypeError(
            f"{name} is {shown(given)} and {plain} is {shown(named[plain])}; give one of them."
        )
    if given is not None and not plain:
        raise TypeError(f"{name} is {shown(given)}; needed is a daskpatch.{kind.__name__}.")
    if plain and plain not in named:
        named[plain] = given
    return kind(**named)


def with_words(value: KindT, words: Mapping[str, object]) -> KindT:
    """A value with those of some flat words that are its own."""
    own = words_of(type(value))
    named: dict[str, Any] = {own[word].name: words[word] for word in words if word in own}
    return replace(value, **named) if named else value  # type: ignore[type-var] # a dataclass


def _fields(kind: type[Options], words: Mapping[str, object]) -> list[str]:
    return [words_of(kind)[word].name for word in words]


_ELSEWHERE = {
    **dict.fromkeys(
        ["tile_size", "tile_shape", "roi_size", "size", "tile"], "Did you mean 'patch_size'?"
    ),
    **dict.fromkeys(["halo", "depth"], "Did you mean 'overlaps'? It is twice the halo."),
    **dict.fromkeys(
        ["n_workers", "num_workers", "workers", "n_jobs"],
        "Give threads=, or the client of a cluster as client= to run or predict.",
    ),
    **dict.fromkeys(["normalise", "norm"], "Did you mean 'normalize'?"),
    **dict.fromkeys(["stride", "step"], "Give overlaps=: patch_size less the step."),
    "device": "It is the model's: daskpatch.TorchModel(network, device=…).",
}
"""What to give instead of words that other libraries have (MONAI, Dask, scikit-learn, torch)."""


def hint_for_word(word: str) -> str:
    """What to give instead of a word that other libraries have; empty where none is known."""
    return _ELSEWHERE.get(word, "")


def refuse_unknown(words: Mapping[str, object], verb: str, *kinds: type[Options]) -> None:
    """Refuse words that no option has.

    Raises
    ------
    TypeError
        If there is one; a similar one is named, or who takes it.
    """
    known = [word for kind in kinds for word in words_of(kind)]
    for word in words.keys() - known:
        hint = f" {_hint(word, known)}".rstrip()
        raise TypeError(f"{verb}() got an unexpected keyword argument {shown(word)}.{hint}")


def _kinds(base: type[Options]) -> Iterator[type[Options]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _hint(word: str, known: Sequence[str]) -> str:
    """What was meant by a word that is not known here: who takes it, or the one that is alike."""
    if hint := hint_for_word(word):
        return hint
    if others := [kind.__name__ for kind in _kinds(Options) if word in words_of(kind)]:
        return f"{'run and predict' if others == ['Run'] else 'plan and predict'} take it."
    similar = difflib.get_close_matches(word, known, 1)
    return f"Did you mean {similar[0]!r}?" if similar else ""


def with_signature(*kinds: type[Options]) -> Callable[[FunctionT], FunctionT]:
    """Give a function that takes `**words` the signature that help and completion show."""

    def decorate(function: FunctionT) -> FunctionT:
        hints = typing.get_type_hints(function)
        signature = inspect.signature(function)
        parameters = [
            parameter.replace(annotation=hints.get(name, parameter.annotation))
            for name, parameter in signature.parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        for kind in kinds:
            types = typing.get_type_hints(kind)
            parameters += [
                inspect.Parameter(
                    word,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if told.is_required else told.default,
                    annotation=types[told.name],
                )
                for word, told in words_of(kind).items()
            ]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters, return_annotation=hints["return"]
        )
        return function

    return decorate


def recorded(*values: Options) -> dict[str, Any]:
    """What values say of a run, as nested JSON values at their guards; defaults are left out."""
    found: dict[str, Any] = {}
    for value in values:
        for declared in declarations(type(value)).values():
            plain = declared.recorded(value)
            if plain is not None:
                *path, last = declared.guard.split(".")
                inside = found
                for name in path:
                    inside = inside.setdefault(name, {})
                inside[last] = plain
    return found


def restored(kind: type[Options], record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a value, by name, that a record of `recorded` tells.

    Raises
    ------
    ValueError
        If it tells something that is no value of a field; its place in the record is named.
    """
    found = {}
    for declared in declarations(kind).values():
        inside: Any = record
        for name in (declared.guard or declared.shows_in).split("."):
            inside = inside.get(name) if isinstance(inside, Mapping) else None
        if inside is not None and (declared.guard or declared.restore is not None):
            try:
                told = inside if declared.restore is None else declared.restore(inside)
                if declared.check is not None:
                    declared.check(declared.word or declared.name, told)
                found[declared.name] = told
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise ValueError(
                    f"The record (run.json) says {shown(inside)} in fingerprint."
                    f"{declared.guard or declared.shows_in}, which is no {declared.word}; it is "
                    "broken, or of another version of daskpatch."
                ) from error
    return found
