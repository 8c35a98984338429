"""Memory of Python's own allocators, measured in a process of its own."""

import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cloudpickle


def traced_peak(prepare):
    """The most bytes that a call holds at a time; `prepare` gives the call, once all is loaded.

    Not here: where native libraries have threads, `tracemalloc.stop` ends the process now and then
    (CPython before 3.12.9, issue 128679).
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_traced, cloudpickle.dumps(prepare)).result()


def _traced(content):
    call = cloudpickle.loads(content)()
    tracemalloc.start()
    kept = call()
    _, peak = tracemalloc.get_traced_memory()
    del kept
    return peak
