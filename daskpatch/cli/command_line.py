"""What errors and warnings say to whoever typed a command: one line, in flags."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import click

from ..support import all_said_by, hint_for_word, redacted
from .messages import as_typed, with_flag


@dataclass(frozen=True)
class CommandLine:
    """What was typed.

    Attributes
    ----------
    arguments
        Words of it.
    commands
        By name; of the one that is run the flags are known.
    typed
        What became a value of Python's, by how that is written; filled while it is parsed.
    """

    arguments: Sequence[str]
    commands: Mapping[str, click.Command]
    typed: dict[str, str] = field(default_factory=dict)

    @property
    def is_debugged(self) -> bool:
        return "--debug" in self.arguments

    def in_flags(self, text: str, quoted: Sequence[str] = ()) -> str:
        """A message of Python's; the user's own texts, and others that it quotes, stay."""
        line = " ".join(text.split())
        kept = [each for each in (*self._texts, *quoted) if len(each) >= _SHORTEST]
        first = line.partition(" ")[0]
        # A file of that name, rather than an option; `pyramid` is a command, and an option of it.
        if first in self.arguments and first not in self.commands:
            return f"{first}{as_typed(line[len(first) :], kept, flags=self._flags)}"
        return as_typed(line, kept, typed=self.typed, flags=self._flags)

    def warning(self, message: Warning | str, *, is_ours: bool) -> str:
        """What a warning says; those of libraries write URLs as they are."""
        text = redacted(" ".join(str(message).split()))
        return self.in_flags(text) if is_ours else text

    def error(self, error: BaseException) -> str:
        """What an error says; what a model said stays as it is."""
        said = " ".join(str(error).split())
        causes = [] if error.__cause__ is None else [all_said_by(error.__cause__)]
        quoted = [part for cause in causes for part in _parts_of(cause, said)]
        return with_flag(self.in_flags(said, quoted), self.arguments) or type(error).__name__

    def misuse(self, error: click.UsageError) -> click.UsageError:
        """Wrong use as click tells it, with what helps."""
        said = redacted(error.format_message())
        if isinstance(error, click.NoSuchOption) and hint_for_word(_word(error)):
            hint = re.sub(r"'(\w+)'", r"\1=", hint_for_word(_word(error)))
            said, advice = redacted(error.message), as_typed(hint, flags=self._flags)
        elif isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
            advice = f"Needed is {error.param.help}" if error.param.help else ""
        else:
            has_numbers_left = re.search(r"unexpected extra arguments? \([\d., -]+\)", said)
            advice = _COMMAS if has_numbers_left else ""
        return click.UsageError(f"{said.rstrip('.')}. {advice}" if advice else said, error.ctx)

    @property
    def _texts(self) -> list[str]:
        """The user's own."""
        return [text for text in self.arguments if not (text.isalnum() or _NO_TEXT.match(text))]

    @property
    def _flags(self) -> Collection[str]:
        """Those of the command that is run."""
        command = next(filter(None, map(self.commands.get, self.arguments)), None)
        parameters = () if command is None else command.params
        return {name for each in parameters for name in (*each.opts, *each.secondary_opts)}


def _word(error: click.NoSuchOption) -> str:
    """The option as Python would call it."""
    return error.option_name.lstrip("-").replace("-", "_")


def _parts_of(quoted: str, text: str) -> tuple[str, str]:
    """How much of what is quoted a text holds: of long ones begin and end."""
    line = " ".join(quoted.split())
    lengths = range(1, len(line) + 1)
    begin = bisect_left(lengths, True, key=lambda n: line[:n] not in text)
    end = bisect_left(lengths, True, key=lambda n: line[-n:] not in text)
    return line[:begin], line[len(line) - end :]


_NO_TEXT = re.compile(r"-|[\d.,:/]*$")
"""Flags and numbers."""

_SHORTEST = 3
"""Letters of a text that is looked for in messages."""

_COMMAS = "Numbers of one flag have commas between them and no spaces, as in --patch-size 16,64,64."
