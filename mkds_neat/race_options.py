"""Options of the commands that drive stored drivers: the race, and what is shown of it."""

from __future__ import annotations

import argparse
from typing import Any, Final

from mkds_gym.display.window import DEFAULT_SCALE, MAX_SCALE, import_pygame, open_display
from mkds_gym.errors import ConsoleError

_RACE: Final = ("course", "course_seed", "laps", "mirror", "engine_class")
"""Options that replace arguments of the environment."""
_CHOOSE_COURSE: Final = ("course", "course_seed", "course_set")


def add_race_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that change the race, and those of the window."""
    race = parser.add_argument_group("the race (default: that of the run)")
    race.add_argument("--course", metavar="NAME", help="course, or random")
    race.add_argument("--course-seed", type=int, metavar="N", help="seed of the random course")
    race.add_argument("--laps", type=int, metavar="N", help="laps, 1 to 9")
    race.add_argument("--engine-class", type=int, choices=(50, 100, 150), help="engine class")
    race.add_argument(
        "--mirror", action="store_const", const=True, help="exchange left and right of the course"
    )
    race.add_argument("--seed", type=int, metavar="N", help="seed of the episode")
    race.add_argument(
        "--trust",
        action="store_true",
        help="import the code that the run folder names (module:object), which can do anything",
    )
    look = parser.add_argument_group("what is shown")
    look.add_argument("--overlays", metavar="A,B", default="", help="overlays, such as rays,hud")
    look.add_argument(
        "--scale",
        type=int,
        choices=range(1, MAX_SCALE + 1),
        default=DEFAULT_SCALE,
        metavar=f"1-{MAX_SCALE}",
        help="screen pixels per pixel of the console (default: %(default)s)",
    )
    look.add_argument("--no-window", action="store_true", help="open no window")


def race_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the environment that the options replace."""
    found = {name: getattr(options, name) for name in _RACE if getattr(options, name) is not None}
    if found.get("course_seed") is not None and "course" not in found:
        found["course"] = "random"
    if "course" in found:
        # What else chose the course of the run must not contradict the option.
        return {**dict.fromkeys(_CHOOSE_COURSE), **found}
    return found


def overlay_names(options: argparse.Namespace) -> list[str]:
    """Return the overlays of the options."""
    return [name for name in options.overlays.split(",") if name]


def check_display(wanted_by: str) -> None:
    """Check that a window can be opened and seen.

    Raises:
        ConsoleError: pygame-ce or the display is missing.
    """
    pygame = import_pygame(wanted_by, ConsoleError)
    ready = pygame.display.get_init()
    advice = "use --no-window, or run under a display such as Xvfb"
    open_display(pygame, advice, must_be_seen=True)
    if not ready:
        pygame.display.quit()  # the window opens it again
