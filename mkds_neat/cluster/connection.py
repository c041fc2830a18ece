"""The connection of this process to a Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from mkds_gym.utils.arguments import shown
from mkds_gym.utils.leftovers import owner, remove_leftover_folders, removed_at_end, shared_folder
from mkds_gym.utils.portable_errors import ends_process
from mkds_neat.cluster.head import why_silent
from mkds_neat.cluster.versions import difference, versions
from mkds_neat.config.settings import RaySettings
from mkds_neat.errors import ConfigError

_LOG = logging.getLogger(__name__)

_ANSWER_TIMEOUT: Final = 5.0
"""Seconds that the head of a cluster has to answer."""
_PROBE_TIMEOUT: Final = 60.0
"""Seconds that a node has to tell its versions: the time of an import on a busy disk."""
_LOCAL_STORE: Final = 128 << 20
"""Bytes of the object store of a cluster that this process starts, beside the files."""
_REMEDY: Final = "start a cluster with `ray start --head`, or write address = local in [ray]"
_LINK: Final = "mkds-ray."
_CURRENT_CLUSTER: Final = "ray_current_cluster"
"""File in the temporary folder of Ray with the address that ``ray start`` printed last."""


def import_ray() -> Any:
    """Return the module ``ray``.

    Raises:
        ConfigError: Ray is not installed.
    """
    # Ray reports its use to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"[run] engine = ray needs Ray ({error}): pip install 'mkds-gym[ray]'"
        ) from error
    return ray


_ours: Final = contextlib.ExitStack()
"""Closes the connection that `connect` opened."""


def connect(settings: RaySettings, files: int = 0) -> Any:
    """Connect this process to a cluster, or start one on this machine, unless it is connected.

    Args:
        settings: Section ``[ray]``.
        files: Bytes that each node will hold.

    Returns:
        The module ``ray``.

    Raises:
        ConfigError: Ray is not installed, there is no cluster at the address, or a node has other
            versions than this process.
    """
    ray = import_ray()
    if ray.is_initialized():
        return ray
    where = f"[ray] address = {settings.address}"
    options: dict[str, Any] = {"address": settings.address}
    if settings.address == "local":
        options["include_dashboard"] = False
        options["object_store_memory"] = _LOCAL_STORE + 2 * files
    else:
        _check_answer(settings.address, where)
    environment: dict[str, Any] = {}
    if settings.working_dir:
        environment["working_dir"] = settings.working_dir
    if settings.py_modules:
        environment["py_modules"] = list(settings.py_modules)
    logging.getLogger("ray").setLevel(logging.ERROR)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if settings.address == "local":
            options["_temp_dir"] = str(_session_folder())
        ray.init(
            log_to_driver=False,
            configure_logging=False,
            runtime_env=environment or None,
            **options,
        )
        _ours.callback(ray.shutdown)
        _log_reports(ray)
        _check_nodes(ray, where)
    except BaseException as error:
        disconnect()
        if isinstance(error, ConfigError) or ends_process(error):
            raise
        if isinstance(error, ConnectionError):
            raise ConfigError(f"{where}: found no Ray cluster; {_REMEDY}") from error
        raise ConfigError(f"{where}: {_first_line(error)}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray replaces them
                signal.signal(number, handler)
    return ray


def disconnect() -> None:
    """End the connection that `connect` opened, and the cluster that it started."""
    _ours.close()


def _session_folder() -> Path:
    """Return a folder for the files of a cluster that this process starts."""
    remove_leftover_folders()
    path = Path(tempfile.mkdtemp(prefix=f"mkds-ray-{owner()}-"))
    _ours.enter_context(removed_at_end(path))
    # The path of a socket must be short: Ray gets a link. Links of dead owners lead nowhere.
    folders = sorted({path.parent, shared_folder()}, key=lambda each: len(str(each)))
    for old in itertools.chain.from_iterable(each.glob(f"{_LINK}*") for each in folders):
        with contextlib.suppress(OSError):
            if old.is_symlink() and not old.exists():
                old.unlink()
    link = folders[0] / f"{_LINK}{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    _ours.callback(link.unlink, missing_ok=True)
    return link


def _log_reports(ray: Any) -> None:
    """Log what Ray would print to the terminal: long reports of workers and nodes that died."""

    def log(data: Any, **_: Any) -> None:
        _LOG.info("Ray: %s", " ".join(map(str, data.get("lines", ())))[:300])

    module = ray._private.worker  # Ray has no option for this
    if hasattr(module, "print_to_stdstream"):
        module.print_to_stdstream = log


def _check_answer(address: str, where: str) -> None:
    """Check that the head of a cluster answers; Ray itself would wait for minutes.

    Raises:
        ConfigError: It does not answer.
    """
    if address == "auto":
        named = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / _CURRENT_CLUSTER
        address = os.environ.get("RAY_ADDRESS", "")
        with contextlib.suppress(OSError):
            address = address or named.read_text().strip()
        if not address:
            return  # Ray looks for a process, and does not wait
        where += f" (that is {address})"
    if problem := why_silent(address, _ANSWER_TIMEOUT):
        raise ConfigError(f"{where}: no Ray cluster answers ({problem}); {_REMEDY}")


def _check_nodes(ray: Any, where: str) -> None:
    """Ask each node for its versions.

    Raises:
        ConfigError: They differ, or are not known.
    """

    def probe() -> Any:  # a nested function is sent by value
        try:
            from mkds_neat.cluster.versions import versions
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return versions()

    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    task = ray.remote(probe)
    answers = {
        task.options(
            num_cpus=0, max_retries=0, scheduling_strategy=place(node, soft=False)
        ).remote(): name
        for node, name in nodes.items()
    }
    done, late = ray.wait(list(answers), num_returns=len(answers), timeout=_PROBE_TIMEOUT)
    for answer in done:
        node = f"{where}: node {answers[answer]}"
        try:
            theirs = ray.get(answer)
        except ray.exceptions.NodeDiedError:
            continue
        except Exception as error:
            raise ConfigError(f"{node} cannot run Python code: {_first_line(error)}") from error
        if isinstance(theirs, str):
            raise ConfigError(
                f"{node} cannot import mkds_neat ({theirs}): install mkds-gym[neat,ray] there"
            )
        if text := difference(theirs, versions()):
            raise ConfigError(f"{node} has {text}: install the same versions on all nodes")
    if late:
        raise ConfigError(
            f"{where}: node {answers[late[0]]} did not answer within {_PROBE_TIMEOUT:.0f} seconds"
        )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Ray names the versions in lines of their own.
    return shown(" ".join(lines[:5]))[1:-1] if lines else type(error).__name__
