"""The main module of a program, which every new worker process imports before it begins."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Final

from mkds_neat.errors import EvaluationError

REMEDY: Final = (
    "put what starts the evolution in a function, and call the function under "
    "`if __name__ == '__main__':`"
)


def check_main_module() -> None:
    """Refuse to start an evolution in a worker that imports the main module.

    A worker process imports the main module (start methods ``forkserver`` and ``spawn``). A script
    without ``if __name__ == "__main__":`` would start its evolution again in each worker.

    Raises:
        EvaluationError: This process is such a worker.
    """
    # Multiprocessing has no public name for this state, in which it refuses to start processes.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        path = getattr(sys.modules.get("__mp_main__"), "__file__", None) or "the main module"
        raise EvaluationError(
            f"{path} starts an evolution when a worker process imports it: {REMEDY}"
        )
