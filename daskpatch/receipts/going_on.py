"""How a run goes on with what another began, and what else its user can do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GoingOn:
    """What is done with the output of an earlier run, in the words of refusals.

    Parameters
    ----------
    done
        What happens to the output.
    anew
        What starts anew instead; empty where whoever asks begins no runs.

    Examples
    --------
    >>> f"Give that model{GoingOn().or_anew}."
    'Give that model, or overwrite=True to start anew.'
    """

    done: str = "resumed"
    anew: str = "overwrite=True"

    @property
    def or_anew(self) -> str:
        """The end of a sentence that says what to do."""
        return f", or {self.anew} to start anew" if self.anew else ""


RESUMED = GoingOn()

REPAIRED = GoingOn("repaired", "")
