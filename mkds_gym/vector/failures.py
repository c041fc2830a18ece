"""Errors of a vector environment: which exception reports the failures of some environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mkds_gym.errors import MKDSError, StateError, VectorEnvError
from mkds_gym.utils.portable_errors import describe, in_worker, portable
from mkds_gym.vector.lanes import Lane, Status


def is_refusal(error: Exception) -> bool:
    """Return whether an environment refused its arguments, rather than failed."""
    if isinstance(error, StateError):
        return True
    return isinstance(error, ValueError | TypeError) and not isinstance(error, MKDSError)


def joint_error(
    where: str, failures: Mapping[int, Exception], called: Sequence[Lane], lanes: Sequence[Lane]
) -> Exception:
    """Return the error of a call: the caller's own mistake if every environment refused the call.

    Args:
        where: name of the call, for the message.
        failures: exceptions by index.
        called: the lanes that the call was for.
        lanes: all lanes.
    """
    refused = all(
        is_refusal(error)
        and not (isinstance(error, StateError) and lanes[index].status is Status.FAILED)
        for index, error in failures.items()
    )
    if refused and len(failures) == len(called):
        return failures[min(failures)]
    return vector_env_error(where, failures, lanes)


def vector_env_error(
    where: str,
    failures: Mapping[int, Any],
    lanes: Sequence[Lane],
    results: tuple[Any, ...] | None = None,
) -> VectorEnvError:
    """Return an error that names the environments that failed, the causes and what to do.

    Args:
        where: name of the call, for the message.
        failures: exceptions by index.
        lanes: all lanes.
        results: the step's results, for the environments that completed it.
    """
    if in_worker():
        failures = {index: portable(error) for index, error in failures.items()}
    index, *others = sorted(failures)
    cause = failures[index]
    message = f"environment {index} of {len(lanes)} failed in {where}: {describe(cause)}"
    if others:
        plural = "s" if len(others) > 1 else ""
        message += f" (environment{plural} {', '.join(map(str, others))} failed too)"
    if results:
        message += "; the other environments completed the step, see the error's `results`"
    if failed := [i for i in sorted(failures) if lanes[i].status is Status.FAILED]:
        message += f"; call envs.replace({failed[0]}) or envs.reset() to continue"
    error = VectorEnvError(message, failures, results)
    error.__cause__ = cause
    return error
