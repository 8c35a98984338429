"""Blocks shared out among workers that come and go: each once, along lanes of neighbours."""

import os
import signal
import time
from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from daskpatch.engine import TASKS_PER_THREAD, Window
from daskpatch.engine.cluster import local_workers
from daskpatch.engine.lanes import Lanes
from daskpatch.engine.preferences import Preferences
from daskpatch.engine.stretches import StretchLength
from daskpatch.engine.workers import ANYBODY


class Left:
    """Blocks in an order of visits, some of which are done."""

    n_foreseen = 3

    def __init__(self, n_places, done=()):
        self.n_places, self._done = n_places, done

    def at(self, places):
        return [place for place in places if place not in self._done]

    def block_at(self, place):
        return place


def length(seconds):
    found = StretchLength(2.0)
    found.add(1, seconds)
    return found


CREWS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True)


@given(
    st.integers(0, 700),
    st.sets(st.integers(0, 700), max_size=300),
    st.floats(0.01, 3.0),
    st.lists(st.tuples(CREWS, st.integers(1, 3), st.booleans()), max_size=40),
)
def test_each_block_is_taken_once_whoever_comes_and_goes(n_places, done, seconds, events):
    lanes, of, taken = Lanes(Left(n_places, done)), length(seconds), []
    for crew, n_slots, gives_back in events:
        slots = dict.fromkeys(crew, n_slots)
        stretch, outlook, lane = lanes.take(of, crew[0], slots)
        assert len(stretch) <= of.most
        if outlook is not None:
            assert all(stretch[-1] < block <= outlook.last for block in outlook.coming)
            assert stretch[-1] <= outlook.last
        if gives_back:  # a task that ended before its last blocks
            stretch, left = stretch[:1], stretch[1:]
            lanes.put_back(left, lane)
        taken += stretch
    while stretch := lanes.take(of, "z", {"z": 1})[0]:
        taken += stretch
    assert sorted(taken) == [place for place in range(n_places) if place not in done]


@given(st.integers(1, 8), st.integers(1, 4))
def test_workers_that_are_as_fast_keep_to_neighbours(n_workers, n_slots):
    slots = {f"w{i}": n_slots for i in range(n_workers)}
    lanes, of, taken = Lanes(Left(4096)), length(0.1), {worker: [] for worker in slots}
    for _ in range(20):
        for worker in slots:
            taken[worker] += lanes.take(of, worker, slots)[0]
    for i, blocks in enumerate(taken.values()):
        first = 4096 * i // n_workers
        assert blocks[:20] == list(range(first, first + 20))


def test_what_failed_comes_last_and_by_itself():
    lanes, of = Lanes(Left(4)), length(0.1)
    lanes.put_again(9)
    lanes.put_again(8)
    slots = {"a": 1}
    assert [lanes.take(of, "a", slots)[0] for _ in range(4)] == [(0, 1, 2, 3), (9,), (8,), ()]


def test_blocks_come_back_to_their_own_lane_or_to_anybody():
    lanes, of, slots = Lanes(Left(16)), length(1.0), {"a": 1, "b": 1}
    early = lanes.take(of, "a", slots)
    lanes.take(of, "b", slots)
    lanes.put_back(early.stretch, early.lane)
    assert lanes.take(of, "a", slots).stretch == early.stretch
    while lanes.take(of, "a", slots).lane is early.lane:
        pass
    lanes.put_back([early.stretch[1]], early.lane)  # its worker is on another one by now
    taken = []
    while stretch := lanes.take(of, "a", slots).stretch:
        taken += stretch
    assert taken.count(early.stretch[1]) == 1
    assert taken[0] != early.stretch[1]


def test_what_anybody_may_take_has_no_outlook():
    assert Lanes(Left(16)).take(length(1.0), ANYBODY, {ANYBODY: 4}).outlook is None


def test_tasks_that_nobody_has_are_stranded_unless_they_have_ended():
    preferences, futures = Preferences(), {name: Future() for name in "abcd"}
    for name, future in futures.items():
        preferences.add(future, "gone" if name < "c" else "there", name)
    ended = {"b"}

    def look():
        found = preferences.stranded(["there"], ["d"], lambda task: task not in ended)
        return {name: found[future] for name, future in futures.items() if future in found}

    assert look() == {}
    assert look() == {"a": True, "c": False}
    futures["d"].set_result(None)
    assert look() == {}
    assert len(preferences) == 1
    ended.clear()
    assert [look(), look()] == [{}, {"b": True}]


def in_lanes(job, client, **options):
    return Window(job, Left(400), key="lanes", threads=1, client=client, retries=2, **options)


def test_blocks_of_workers_that_are_all_gone_are_done_by_those_that_come():
    """With distributed 2026.8 their tasks would wait for ever: each preferred one of them."""

    def job(i):
        time.sleep(0.01)
        return i, os.getpid()

    with local_workers(2, 1) as client:
        done = {}
        for each in in_lanes(job, client):
            done[each.index] = each
            if len(done) == 40:
                before = set(client.run(os.getpid).values())
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
    assert sorted(done) == list(range(400))
    assert all(each.result[0] == i for i, each in done.items())
    assert {each.result[1] for each in done.values()} - before


def test_a_block_that_ends_the_only_worker_is_told_and_the_others_are_done():
    def job(i):
        if i == 150:
            os._exit(1)
        return i

    alone = []
    with local_workers(1, 1) as client:
        done = {each.index: each for each in in_lanes(job, client, on_alone=alone.append)}
    assert sorted(done) == list(range(400))
    assert [i for i, each in done.items() if each.error] == [150]
    assert "worker processes ended while they computed nothing but this" in str(done[150].error)
    assert len(alone) <= 2 * TASKS_PER_THREAD
