"""Whether the head of a Ray cluster answers.

Ray waits for a lost head for a minute, in which some of its calls block, and then ends the process
without a word of ours.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Final

from mkds_neat.errors import EvaluationError

INTERVAL: Final = 5.0
"""Seconds from one question to the next."""
PATIENCE: Final = 30.0
"""Seconds without an answer after which the head counts as lost."""
_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""RFC 9113, section 3.4: a client's first bytes, and an empty SETTINGS frame."""
_HTTP2_SETTINGS: Final = 4


def why_silent(address: str, timeout: float) -> str:
    """Ask the head of a cluster for an answer.

    Args:
        address: ``host:port`` of the head.
        timeout: Seconds that it has.

    Returns:
        An empty string if it answers, and otherwise why not.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return "expected host:port"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as stream:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return ""
            stream.sendall(_HTTP2_PREFACE)
            head = stream.recv(4)
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    if len(head) < 4 or head[3] != _HTTP2_SETTINGS:
        return "another kind of server answers"
    return ""


class Head:
    """The head of the cluster that evaluates.

    Args:
        address: ``host:port`` of the head.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._next = time.monotonic() + INTERVAL
        self._silent_since: float | None = None

    def check(self) -> None:
        """Ask the head now and then. To be called often.

        Raises:
            EvaluationError: It has not answered for `PATIENCE` seconds.
        """
        if time.monotonic() >= self._next:
            self._ask()

    def wait(self) -> None:
        """Wait until the head answers, before a call of Ray that needs it.

        Raises:
            EvaluationError: It has not answered for `PATIENCE` seconds.
        """
        while not self._ask():
            time.sleep(0.5)

    def _ask(self) -> bool:
        """Return whether the head answers."""
        asked = time.monotonic()
        problem = why_silent(self._address, INTERVAL)
        now = time.monotonic()
        if not problem:
            self._silent_since = None
            self._next = now + INTERVAL
            return True
        if self._silent_since is None:
            self._silent_since = asked
        if now - self._silent_since >= PATIENCE:
            raise EvaluationError(
                f"the head of the Ray cluster at {self._address} has not answered for "
                f"{now - self._silent_since:.0f} seconds ({problem}): start a cluster again, and "
                "continue the run with --resume"
            )
        self._next = now + 1.0
        return False
