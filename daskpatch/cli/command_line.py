"""What errors and warnings say to whoever typed a command: one line, in flags."""

from __future__ import annotations

import re
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
    typed
        What became a value of Python's, by how that is written; filled while it is parsed.
    commands
        By name; of the one that is run the flags are known.
    """

    arguments: Sequence[str]
    commands: Mapping[str, click.Command]
    typed: dict[str, str] = field(default_factory=dict)

    @property
    def is_debugged(self) -> bool:
        return "--debug" in self.arguments

    def in_flags(self, text: str, quoted: Sequence[str] = ()) -> str:
        """A message of Python's; the user's own texts, and others that it quotes, stay."""
        own = [text for text in self.arguments if not text.startswith("-") and not text.isalnum()]
        line = " ".join(text.split())
        return as_typed(line, [*own, *quoted], typed=self.typed, flags=self._flags)

    def warning(self, message: Warning | str) -> str:
        """What a warning says; those of libraries write URLs as they are."""
        return self.in_flags(redacted(str(message)))

    def error(self, error: BaseException) -> str:
        """What an error says; what a model said stays as it is."""
        quoted = [] if error.__cause__ is None else [all_said_by(error.__cause__)]
        return with_flag(self.in_flags(str(error), quoted), self.arguments) or type(error).__name__

    @property
    def _flags(self) -> Collection[str]:
        """Those of the command that is run."""
        command = next(filter(None, map(self.commands.get, self.arguments)), None)
        parameters = () if command is None else command.params
        return {name for each in parameters for name in (*each.opts, *each.secondary_opts)}


def explained(error: click.UsageError) -> click.UsageError:
    """Wrong use as click tells it, with what helps."""
    if isinstance(error, click.NoSuchOption):
        hint = hint_for_word(error.option_name.lstrip("-").replace("-", "_"))
        said = as_typed(re.sub(r"'(\w+)'", r"\1=", hint))
    else:
        has_numbers_left = re.search(r"unexpected extra arguments? \([\d., -]+\)", error.message)
        said = _COMMAS if has_numbers_left else ""
    return click.UsageError(f"{error.message.rstrip('.')}. {said}", error.ctx) if said else error


_COMMAS = "Numbers of one flag have commas between them and no spaces, as in --patch-size 16,64,64."
