"""A rolling window of tasks over the `concurrent.futures` interface.

The one loop for threads and clusters: a job (any picklable callable) and block indices in,
what it returns out. Neither the driver nor a scheduler ever holds more than a few tasks per
thread; where tasks themselves take time, each has several blocks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from ..support import DEFAULT_PACING
from .coming import Coming
from .deadline import Timed, TimedOutError
from .interruption import Interruption
from .jobs import Job, Stretch, Task, begun, forget, register
from .lanes import Lane, Lanes, Visits
from .stretches import StretchLength
from .tasks import is_in_task
from .threads import Threads
from .workers import (
    ANYBODY,
    Client,
    NoWorkersError,
    WorkerDiedError,
    Workers,
    lives_here,
)

_STRANDINGS = 3
"""Workers that may go with a block before it is suspected; as distributed's `allowed-failures`."""

_GONE = "The client was closed, or its scheduler is gone"


@dataclass(frozen=True, slots=True)
class Done:
    """A block that ended: with a result, or with an error after all its tries."""

    index: int
    result: Any
    error: BaseException | None


def has_other_processes(client: Client) -> bool:
    """Whether some worker does not live in this process."""
    return any(not lives_here(address) for address in client.nthreads())


@dataclass
class Window:
    """A job over block indices; iterating runs it, and yields blocks in the order they end.

    A block that fails is tried again `retries` times, unless `is_lasting` says of its error that
    it would fail again; then it is yielded with its error, and the others go on. Blocks whose
    worker died again and again are tried once more at the end, one at a time: the others that
    waited on that worker are not to blame. Closing the iterator early cancels what has not begun,
    and abandons the job, in every process (see `jobs.Abandonable`).

    Attributes
    ----------
    alone
        Blocks that run one at a time when all others have ended.
    on_alone
        Called with each of them, and with what is tried alone, before it begins.
    on_pulse
        Called whenever the loop looks around: every `pulse` seconds at least.
    retried
        Tries after a failure, so far.
    left_behind
        Tasks that were running on other processes when the iterator was closed.
    """

    job: Job
    indices: Iterable[int] | Visits
    key: str
    threads: int
    client: Client | None = None
    retries: int = 0
    is_lasting: Callable[[BaseException], bool] = lambda _: False
    resources: Mapping[str, float] | None = None
    patience: float = 600.0
    timeout: float | None = None
    interruption: Interruption = field(default_factory=Interruption)
    on_pulse: Callable[[], None] = lambda: None
    pulse: float = DEFAULT_PACING.pulse
    alone: Iterable[int] = ()
    on_alone: Callable[[int], None] = lambda _: None
    retried: int = 0
    left_behind: int = 0
    _handed_out: dict[int, float] = field(default_factory=dict, init=False, repr=False)

    def __iter__(self) -> Generator[Done, None, None]:
        workers = self._workers()
        suspects: list[int] = []
        try:
            with _out_of_the_way(self.client), self._registered():
                yield from self._roll(workers, self._coming(), workers.slots, suspects)
                # One at a time: whichever kills its worker now is to blame, and no other is near.
                alone = Coming(chain(suspects, self.alone))
                yield from self._roll(workers, alone, lambda: {ANYBODY: 1}, None)
        except Exception as error:
            if not workers.is_gone():
                raise
            raise NoWorkersError(_GONE) from error
        finally:
            if not workers.is_gone():
                workers.shutdown()

    @contextmanager
    def _registered(self) -> Iterator[None]:
        """Make the job known here and, once, in every worker process of a cluster."""
        job = self.job if self.timeout is None else Timed(self.job, self.timeout)
        with ExitStack() as stack:
            # Here too, also with a client: workers may live in this process (`processes=False`).
            register(self.key, job)
            stack.callback(forget, self.key)
            if self.client is not None and has_other_processes(self.client):
                from .cluster import registered_with

                stack.enter_context(registered_with(self.client, self.key, job, self.patience))
            yield

    @property
    def in_work(self) -> dict[int, float]:
        """Blocks that were begun, as far as is known here, and when (seconds since the epoch)."""
        return begun(self.key) if self.client is None else dict(self._handed_out)

    def _coming(self) -> Coming | Lanes:
        return Lanes(self.indices) if isinstance(self.indices, Visits) else Coming(self.indices)

    def _workers(self) -> Workers:
        if self.client is None:
            return Threads(self.threads)
        from .cluster import Cluster

        return Cluster(self.client, resources=self.resources, patience=self.patience)

    def _roll(
        self,
        workers: Workers,
        coming: Coming | Lanes,
        slots: Callable[[], Mapping[str, int]],
        suspects: list[int] | None,
    ) -> Iterator[Done]:
        """Keep the window full until nothing is left; deaths go to the suspects, if any may."""
        # One that hangs ends its worker, and what went with it would be lost; one that fails behind
        # others is tried again to tell why.
        is_by_one = suspects is None or self.timeout is not None or not self.retries
        length = StretchLength(0.0 if is_by_one else workers.task_seconds)
        turn = _Turn(workers, coming, suspects, length)
        pending: dict[Future[Any], _Task] = {}
        try:
            # Two tasks a thread, never more: one big graph would keep every task in the scheduler
            # (7 KB each), and a worker that dies takes down all that were handed to it.
            while not self.interruption.is_over:
                if not self.interruption.is_requested:
                    self._fill(pending, turn, slots())
                elif workers.takes_back:
                    self._take_back(pending)
                if not pending:
                    return
                for future in wait(pending, self.pulse, FIRST_COMPLETED).done:
                    task = pending.pop(future)
                    self._forget(task.stretch)
                    yield from self._ended(future, task, turn)
                for future, is_worker_gone in workers.stranded().items():
                    self._take_up(pending.pop(future), turn, is_worker_gone=is_worker_gone)
                    future.cancel()
                workers.check()
                self.on_pulse()
        finally:
            if self.client is not None:
                self.left_behind += sum(not future.done() for future in pending)
            for future in pending if not workers.is_gone() else ():
                future.cancel()

    def _fill(
        self, pending: dict[Future[Any], _Task], turn: _Turn, slots: Mapping[str, int]
    ) -> None:
        held = Counter(task.worker for task in pending.values())
        most = max(slots.values())
        # In turns: towards the end there is not enough for all.
        for worker in [each for i in range(most) for each, n in slots.items() if i < n]:
            if len(pending) >= sum(slots.values()):
                return
            if held[worker] >= slots[worker]:
                continue
            portion = turn.coming.take(turn.length, worker, slots)
            stretch = portion.stretch
            if not stretch:
                continue
            if turn.suspects is None:
                self.on_alone(*stretch)
            task = Task(self.key, stretch, turn.length.seconds, portion.outlook)
            future = turn.workers.submit(worker, task)
            pending[future] = _Task(stretch, worker, portion.lane)
            held[worker] += 1
            self._handed_out.update(dict.fromkeys(stretch, time.time()))

    def _ended(self, future: Future[Any], task: _Task, turn: _Turn) -> Iterator[Done]:
        """What a task did, and what becomes of the rest of it."""
        stretch = task.stretch
        error = _error_of(future)
        if error is not None and turn.workers.is_gone():
            raise NoWorkersError(_GONE) from error
        if error is None:
            done: Stretch = future.result()
            turn.length.add(len(done.results), done.seconds)
            left = stretch[len(done.results) :]
            self._go_on(left, task.lane, turn, has_failed=done.is_cut_by_failure)
            for index, result in zip(stretch, done.results, strict=False):
                turn.tries.pop(index, None)
                yield Done(index, result, None)
        elif turn.workers.is_death(error) and turn.suspects is not None:
            # distributed blames every task that waited on the dead worker.
            _suspect(stretch, turn.coming, turn.suspects)
        else:
            index, *rest = stretch
            turn.coming.put_back(rest, task.lane)
            if isinstance(error, TimedOutError):
                if turn.workers.replaces(error) and turn.suspects is not None:
                    turn.suspects.append(index)
                else:
                    yield Done(index, None, error)
            elif turn.workers.is_death(error):
                yield Done(index, None, _death_of(error))
            elif self._tries_again(index, error, turn):
                turn.coming.put_again(index)
            else:
                yield Done(index, None, error)

    def _go_on(
        self, left: tuple[int, ...], lane: Lane | None, turn: _Turn, *, has_failed: bool
    ) -> None:
        """With blocks that a task did not do; the first that failed is to tell why."""
        if not has_failed:
            turn.coming.put_back(left, lane)
            return
        failed, *rest = left
        turn.coming.put_back(rest, lane)
        turn.coming.put_again(failed)
        self._count_try(failed, turn)

    def _take_up(self, task: _Task, turn: _Turn, *, is_worker_gone: bool) -> None:
        """Blocks that nobody was given: all workers were gone, or paused."""
        stretch = task.stretch
        self._forget(stretch)
        if not is_worker_gone:
            turn.coming.put_back(stretch, task.lane)
            return
        turn.strandings.update(stretch)
        if turn.suspects is not None and max(turn.strandings[i] for i in stretch) > _STRANDINGS:
            _suspect(stretch, turn.coming, turn.suspects)
        else:
            turn.coming.put_back(stretch)

    def _take_back(self, pending: dict[Future[Any], _Task]) -> None:
        """Let no task begin that was handed out and waits for its turn."""
        for future in list(pending):
            if future.cancel():
                self._forget(pending.pop(future).stretch)

    def _forget(self, stretch: tuple[int, ...]) -> None:
        for index in stretch:
            self._handed_out.pop(index, None)

    def _tries_again(self, index: int, error: BaseException, turn: _Turn) -> bool:
        is_last = turn.tries[index] >= self.retries
        if self.is_lasting(error) or is_last:
            return False
        self._count_try(index, turn)
        return True

    def _count_try(self, index: int, turn: _Turn) -> None:
        turn.tries[index] += 1
        self.retried += 1


class _Task(NamedTuple):
    """Blocks that were handed to a worker."""

    stretch: tuple[int, ...]
    worker: str
    lane: Lane | None


@dataclass
class _Turn:
    """Blocks that are rolled through the window, and those who compute them.

    Attributes
    ----------
    suspects
        Where blocks are noted whose worker died; None where each runs alone.
    tries
        Of blocks that failed, those that were counted.
    strandings
        How often the worker of a block was gone, and nobody else had it.
    """

    workers: Workers
    coming: Coming | Lanes
    suspects: list[int] | None
    length: StretchLength
    tries: Counter[int] = field(default_factory=Counter)
    strandings: Counter[int] = field(default_factory=Counter)


@contextmanager
def _out_of_the_way(client: Client | None) -> Iterator[None]:
    """Leave the place of the task that this is to the tasks that it waits for."""
    if client is None or not is_in_task():
        yield
        return
    from .cluster import seceded

    with seceded():
        yield


def _suspect(stretch: tuple[int, ...], coming: Coming | Lanes, suspects: list[int]) -> None:
    """Tell apart blocks whose workers died: by themselves first, and those again blamed alone."""
    note = suspects.append if len(stretch) == 1 else coming.put_again
    for index in stretch:
        note(index)


def _death_of(error: BaseException) -> WorkerDiedError:
    died = WorkerDiedError(
        "worker processes ended while they computed nothing but this block: a crash inside the "
        "model, or too little memory (or somebody ended them); their logs may tell"
    )
    died.__cause__ = error
    return died


def _error_of(future: Future[object]) -> BaseException | None:
    if future.cancelled():  # by the scheduler: the client was closed, or lost it
        return RuntimeError("The task was cancelled: the scheduler is gone, or restarted.")
    return future.exception()
