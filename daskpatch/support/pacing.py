"""How long a run waits, for what, and how often it looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pacing:
    """Seconds; the driver has it, and its jobs carry it to workers.

    Attributes
    ----------
    heartbeat, silence
        Between two signs of life of a claim; without one, after which the holder on another host
        counts as dead.
    flush
        Between two times that receipts are stored: what a driver that is killed loses at most.
    delays
        Before each new try to reach a store that does not answer.
    pulse
        After which the loop looks around, also when no task ended.
    """

    heartbeat: float = 10.0
    silence: float = 60.0
    flush: float = 2.0
    delays: tuple[float, ...] = (0.2, 1.0, 5.0, 20.0)
    pulse: float = 0.5


DEFAULT_PACING = Pacing()
