"""Evaluation on many machines: workers are actors of a Ray cluster (``[run] engine = ray``)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mkds_neat.cluster.connection import connect, disconnect
from mkds_neat.cluster.files import files_of
from mkds_neat.cluster.pool import RayPool
from mkds_neat.config import Config
from mkds_neat.config.settings import MAX_ACTORS
from mkds_neat.lanes import LanesFactory
from mkds_neat.workers import WorkerPool

__all__ = ["RayPool", "connected", "disconnect", "pool_maker"]


def connected(config: Config) -> Config:
    """Return a config whose ``[run] workers`` is the number of actors, if its engine is ``ray``.

    Raises:
        ConfigError: The cluster cannot be used.
    """
    if config.run.engine != "ray":
        return config
    settings = config.settings.ray
    ray = connect(settings, files_of(config.env_id, config.env_kwargs).size)
    room = ray.cluster_resources().get("CPU", 1.0) / settings.cpus_per_actor
    return config.with_workers(settings.actors or min(MAX_ACTORS, max(1, int(room))))


def pool_maker(config: Config) -> Callable[[LanesFactory, int], WorkerPool] | None:
    """Return what makes the workers of a run; None for workers on this machine."""
    if config.run.engine != "ray":
        return None
    return functools.partial(RayPool, settings=config.settings.ray)
