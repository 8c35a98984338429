"""Processes of their own that run code and can be killed.

They fork from a process that has imported what all of them need: an interpreter that begins anew
takes a second to import it.
"""

import multiprocessing
import os
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from types import ModuleType
from typing import NamedTuple

_CONTEXT = multiprocessing.get_context("forkserver")
"""What its processes have imported, `conftest.py` says."""


class Ended(NamedTuple):
    """What a process leaves, as of `subprocess.run`."""

    returncode: int
    stdout: str
    stderr: str


class Child:
    """Code in a process of its own, as `python -B -c CODE ARGUMENT...` runs it in a folder."""

    def __init__(self, code, *arguments, folder="."):
        self._answers, answer = _CONTEXT.Pipe(duplex=False)
        given = (answer, os.path.abspath(folder), code, [*map(str, arguments)])
        self._process = _CONTEXT.Process(target=_answer, args=given, daemon=True)
        self._process.start()
        answer.close()

    def kill_when(self, happened):
        """Kill it as soon as something has happened."""
        was_alive = True
        while not happened():
            assert was_alive, self.end()
            time.sleep(0.005)
            # Before it is asked again: it may happen, and the process end, in between.
            was_alive = self._process.is_alive()
        self._process.kill()
        self._process.join()

    def end(self):
        """Wait for its end, whatever that is: of one that was killed, only how is known."""
        try:
            ended = Ended(*self._answers.recv())
        except EOFError:
            ended = None
        self._process.join()
        return ended or Ended(self._process.exitcode, "", "")

    def said(self):
        """What it printed, once it has ended well."""
        ended = self.end()
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


def _answer(answer, folder, code, arguments):
    os.chdir(folder)
    sys.argv, sys.dont_write_bytecode = ["-c", *arguments], True
    sys.path.insert(0, "")
    sys.modules["__main__"] = main = ModuleType("__main__")
    returncode = 0
    with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
        try:
            exec(code, vars(main))
        except BaseException:
            traceback.print_exc()
            returncode = 1
    answer.send((returncode, output.getvalue(), errors.getvalue()))
