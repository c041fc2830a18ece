"""A Ray cluster of several nodes on this machine, in this process or in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import psutil

STORE = 80 << 20  # bytes of a node's object store
HEALTH = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


class LocalCluster:
    """A cluster whose head drives nothing. The process id of its raylet names a node.

    Attributes:
        address: The address of the head.
    """

    def __init__(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": STORE,
                "include_dashboard": False,
                "_system_config": HEALTH,
            },
        )
        self._nodes: dict[int, Any] = {}
        self.address: str = self._cluster.address

    def add_node(self) -> int:
        """Start a node with one core, and return its raylet."""
        node = self._cluster.add_node(num_cpus=1, object_store_memory=STORE)
        raylet: int = node.all_processes["raylet"][0].process.pid
        self._nodes[raylet] = node
        return raylet

    def remove_node(self, raylet: int) -> None:
        """End the processes of a node, which may be dead."""
        self._cluster.remove_node(self._nodes.pop(raylet))

    def close(self) -> None:
        """End all processes."""
        self._cluster.shutdown()


class RemoteCluster:
    """A `LocalCluster` in another process. This process may fork: it has no threads of Ray."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.address = self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith("> "):
            assert line, "the cluster has ended"
        return line[2:].strip()

    def _ask(self, question: str) -> str:
        print(question, file=self._process.stdin, flush=True)
        return self._answer()

    def add_node(self) -> int:
        """Start a node with one core, and return its raylet."""
        return int(self._ask("add"))

    def remove_node(self, raylet: int) -> None:
        """End the processes of a node, which may be dead."""
        self._ask(f"remove {raylet}")

    def kill_head(self) -> None:
        """Kill the server that all nodes ask. The raylet of the head lives on, as all others do."""
        (server,) = (p for p in self._children() if p.name() == "gcs_server")
        server.kill()

    def kill(self) -> None:
        """Kill all processes, as if all machines were lost."""
        for process in (*self._children(), self._process):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid).children(recursive=True)
        return []

    def close(self) -> None:
        """End all processes."""
        self._process.communicate()


def kill(raylet: int) -> None:
    """Kill a raylet, with which the workers of its node end."""
    os.kill(raylet, signal.SIGKILL)


def actors(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of some processes that are actors of ours and run."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() != "zombie" and "EpisodeActor" in " ".join(process.cmdline()):
                found.append(process)
    return found


def actors_on(raylets: Iterable[int]) -> list[psutil.Process]:
    """Actors of ours that run on some nodes."""
    return actors(child for raylet in raylets for child in _children(raylet))


def _children(raylet: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from psutil.Process(raylet).children()


def _serve() -> None:
    """Answer a `RemoteCluster` until its end."""
    cluster = LocalCluster()
    try:
        print(">", cluster.address, flush=True)
        for line in sys.stdin:
            if line == "add\n":
                print(">", cluster.add_node(), flush=True)
            else:
                cluster.remove_node(int(line.split()[1]))
                print("> removed", flush=True)
    finally:
        cluster.close()


if __name__ == "__main__":
    _serve()
