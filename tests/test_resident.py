"""The memory that a call takes while it runs."""

import numpy as np

from daskpatch.support import peak_memory


def peak_of(call):
    with peak_memory() as peak:
        call()
    return peak[0]


def test_a_peak_is_seen_however_short_it_is():
    for _ in range(20):
        assert peak_of(lambda: np.ones(40_000_000, "u1").sum()) > 39_000_000


def test_what_was_freed_before_counts_again():
    # Small enough for the heap, from which the allocator gives nothing back by itself.
    def call():
        return sum(each.size for each in [np.ones(50_000, "u1") for _ in range(1000)])

    peaks = [peak_of(call) for _ in range(5)]
    assert min(peaks) > 48_000_000
    assert max(peaks) < 60_000_000


def test_memory_that_was_held_before_does_not_count():
    held = np.ones(40_000_000, "u1")
    assert peak_of(lambda: held.sum()) < 10_000_000
