"""Options of the command line that replace keys of the config. Imports nothing slow."""

from __future__ import annotations

from typing import Final

HELP: Final = {
    "seed": "seed of all chance",
    "engine": "local to drive on this machine, ray on a Ray cluster",
    "workers": "processes that drive: a number, auto or cores",
    "drivers_per_console": "races that a worker drives at a time: 1 to 8, or auto",
    "generations": "most generations to evaluate",
    "frames": "frames of all drivers after which the run ends, with the generation that reaches "
    "them",
    "output": "folder to write to; if it exists, a number is added",
    "stop_when": "finish stops when a driver finishes the race, never does not",
    "log_interval": "generations between lines of progress",
    "viewer": "races to show in a window: none, first, all, or places in a generation such as "
    "0,3,5",
}
"""Help of each option for a key of ``[run]``, by key."""

ENVIRONMENT_HELP: Final = {
    "rom": "cartridge: a file, or the name of an imported one",
    "course": "course to drive",
}
"""Help of each option for a key of ``[environment]``, by key."""


def option(key: str) -> str:
    """Return the option that replaces a key."""
    return "--show" if key == "viewer" else f"--{key.replace('_', '-')}"
