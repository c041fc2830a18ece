"""Run what may crash the interpreter in a child process."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mkds_gym.utils.processes import signal_if_parent_dies

_PROGRAM: Final = (
    "import sys; sys.path[:] = {path!r}; import runpy; runpy.run_module({module!r}, None, "
    "'__main__', True)"
)
_OUT_OF_TIME: Final = (signal.SIGPROF, signal.SIGXCPU)


@dataclass(frozen=True)
class Result:
    """Outcome of a child process.

    Attributes:
        status: exit status; negative for a signal; None if the child took too long and was killed.
        answers: what the child answered until then.
        errors: what it wrote to its standard error.
    """

    status: int | None
    answers: list[Any]
    errors: str

    @property
    def hangs(self) -> bool:
        """Whether the child was killed because it took too much time."""
        return self.status is None or -self.status in _OUT_OF_TIME

    @property
    def ending(self) -> str:
        """How the child ended, for messages."""
        if self.status is None:
            return "it took too long"
        if self.status >= 0:
            return f"exit status {self.status}"
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"


def run_in_child(module: str, request: object, timeout: float) -> Result:
    """Run a module in a child process; the module calls `answer_parent`.

    The child imports from the same folders as this process.

    Args:
        module: name of the module.
        request: an object that can be pickled.
        timeout: seconds after which the child is killed.

    Raises:
        OSError: no process can be started.
    """
    program = _PROGRAM.format(path=sys.path, module=module)
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    status: int | None
    with child:
        try:
            output, errors = child.communicate(pickle.dumps(request), timeout)
            status = child.returncode
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
            status = None
        except BaseException:
            child.kill()
            raise
    return Result(status, list(_answers(output)), errors.decode("utf-8", "replace"))


def _answers(output: bytes) -> Iterator[Any]:
    """The answers in a child's output, up to the first that is damaged or incomplete."""
    for line in output.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def answer_parent(answer: Callable[[Any], Iterator[Any]]) -> None:
    """In a child of `run_in_child`: read the request and send the answers.

    The child dies when its parent does. What the child prints goes to its standard error.

    Args:
        answer: takes the request and yields answers for JSON, each of which is sent at once.
    """
    signal_if_parent_dies(signal.SIGKILL)  # the thread that started this process waits
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        # Our parent pickled the request.
        for each in answer(pickle.load(sys.stdin.buffer)):
            output.write(json.dumps(each).encode() + b"\n")
            output.flush()
