"""Run what may crash the interpreter in a child process."""

from __future__ import annotations

import pickle
import subprocess
import sys


def run_in_child(module: str, request: object, timeout: float) -> int | None:
    """Run ``python -m module`` with a pickled request on its standard input.

    Args:
        module: name of the module, which unpickles the request and writes its answer to a file.
        request: an object that can be pickled.
        timeout: seconds after which the child is killed.

    Returns:
        The exit status, or None if the child was killed.
    """
    try:
        return subprocess.run(
            [sys.executable, "-m", module],
            input=pickle.dumps(request),
            capture_output=True,
            timeout=timeout,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return None
