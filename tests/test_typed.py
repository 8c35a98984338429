"""Documents as values of a type, in threads that meet the type together."""

import subprocess
import sys

import pytest

from daskpatch.support import decoded, parsed

TOGETHER = """
import os, sys, threading
from daskpatch.store.ome import _Multiscale
from daskpatch.support import converted

moved = [{"type": "scale", "scale": [1.0]}]
told = [{"axes": [{"name": "y"}], "datasets": [{"path": "0", "coordinateTransformations": moved}]}]
gate = threading.Barrier(4)

def meet():
    gate.wait()
    converted(told, list[_Multiscale])

sys.setswitchinterval(1e-6)
for _ in range(80):
    child = os.fork()
    if child == 0:
        threads = [threading.Thread(target=meet) for _ in range(4)]
        for each in threads: each.start()
        for each in threads: each.join()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
"""One process in fourteen ended by SIGSEGV where nothing keeps threads apart."""


def test_threads_that_meet_a_type_together_do_not_end_the_process():
    ended = subprocess.run([sys.executable, "-c", TOGETHER], check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()


@pytest.mark.parametrize("read", [parsed, lambda content: decoded(content, dict[str, object])])
def test_what_is_nested_too_deeply_is_an_error_as_others_are(read):
    with pytest.raises(ValueError, match="it is nested too deeply"):
        read(b'{"a":' + b"[" * 100_000)
