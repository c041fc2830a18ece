"""Race champions: ``python -m mkds_neat.race RUN1 RUN2``, or ``mkds-race RUN1 RUN2``.

Each champion drives alone from the same start, and all are shown side by side. With ``--versus``,
all drive in one race, and hit each other. The race is that of the first run.

Exit status: 0 done, 1 failed, 2 bad arguments, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import mkds_gym
from mkds_gym.components.observations import DEFAULT_SENSORS
from mkds_gym.display.video import VIDEO_SUFFIXES, VideoWriter, check_video, race_clock
from mkds_gym.display.window import Window
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import MKDSError, RecordingError
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.recording.format import Recording
from mkds_gym.recording.recorder import Recorder
from mkds_gym.replay.show import Show, show
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)
from mkds_gym.utils.files import why_unwritable
from mkds_neat.config.environment import is_mkds
from mkds_neat.errors import RunFolderError
from mkds_neat.race_options import add_race_options, check_display, overlay_names, race_arguments
from mkds_neat.stored_driver import StoredDriver, load_driver

_PROGRAM: Final = "python -m mkds_neat.race"
_OF_DRIVER: Final = ("obs_type", "sensors", "action_type", "metrics", "reward")
"""Arguments of the environment that belong to a driver. All others belong to the race."""
_NOT_OF_RACE: Final = (*_OF_DRIVER, "frame_skip", "terminate_on", "truncate_on")
_OF_VERSUS: Final = (
    *("rom", "course", "course_seed", "course_set", "difficulty", "laps", "engine_class"),
    *("mirror", "opponent_strength"),
)
"""Arguments of a race of several agents that belong to the race."""
_STUCK: Final = "stuck:600"
DEFAULT_FRAMES: Final = 18_000


@dataclass(frozen=True)
class Outcome:
    """The race of one driver.

    Attributes:
        driver: The driver.
        finished: Whether the driver finished the race.
        seconds: Time of the race; 0 if it was not finished.
        lap_times: Seconds of each complete lap.
        progress: Laps since the start line.
        recording: The race; None in a race against each other.
    """

    driver: StoredDriver
    finished: bool
    seconds: float
    lap_times: tuple[float, ...]
    progress: float
    recording: Recording | None = None

    @property
    def rank(self) -> tuple[float, ...]:
        """A key for comparisons; smaller is better."""
        return (0.0, self.seconds) if self.finished else (1.0, -self.progress)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog=_PROGRAM,
        description="Race the champions of runs: side by side from the same start, or with "
        "--versus against each other. Prints a table of results.",
    )
    parser.add_argument(
        "runs",
        type=path_or_name,
        nargs="+",
        metavar="RUN",
        help="folders of runs, or champion.json files",
    )
    parser.add_argument(
        "--versus", action="store_true", help="one race, in which the karts hit each other"
    )
    parser.add_argument("--items", action="store_true", help="item boxes, with --versus")
    parser.add_argument(
        "--view",
        type=int,
        default=1,
        metavar="N",
        help="with --versus: number of the run whose driver is shown (default: %(default)s)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=DEFAULT_FRAMES,
        metavar="N",
        help="longest race in frames, 59.8 a second (default: %(default)s)",
    )
    parser.add_argument(
        "--video", type=path_or_name, metavar="FILE", help=f"video: {', '.join(VIDEO_SUFFIXES)}"
    )
    add_race_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: Command-line arguments; None takes those of the process.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    count = len(options.runs)
    if options.frames < 1:
        parser.error(f"--frames {options.frames} is out of range: expected at least 1")
    if not options.versus and (options.items or options.view != 1):
        parser.error("--items and --view have no effect without --versus")
    if options.versus and not 2 <= count <= MAX_DRIVERS:
        parser.error(f"--versus needs 2 to {MAX_DRIVERS} runs, and {count} were given")
    if not 1 <= options.view <= count:
        parser.error(f"--view {options.view} is out of range: expected 1 to {count}")
    try:
        drivers = load_drivers(options.runs, trusted=options.trust)
        if options.video:
            if problem := why_unwritable(options.video):
                raise RecordingError(f"--video {options.video}: {problem}")
            check_video(options.video)
        if not options.no_window:
            check_display("mkds_neat.race")
        drive = _versus if options.versus else _side_by_side
        print_line(table(drive(drivers, options)))
    except (MKDSError, ValueError, TypeError, ImportError, gym.error.Error) as error:
        print_error(f"{_PROGRAM}: error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def load_drivers(runs: Sequence[str], *, trusted: bool = False) -> list[StoredDriver]:
    """Return the champions of runs. Each gets a name of its own.

    Raises:
        RunFolderError: A driver names code and is not trusted, or does not drive ``MKDS-v0``.
        ChampionFormatError: A ``champion.json`` is missing or damaged.
    """
    found: list[StoredDriver] = []
    for run in runs:
        driver = load_driver(run)
        driver.check_trusted(trusted)
        if not is_mkds(driver.env_id):
            raise RunFolderError(f"{driver.name} drives {driver.env_id}: expected MKDS-v0")
        number = sum(each.name.split(" #")[0] == driver.name for each in found)
        found.append(replace(driver, name=f"{driver.name} #{number + 1}") if number else driver)
    return found


def table(outcomes: Sequence[Outcome]) -> str:
    """Return results as a table in Markdown, the best driver first."""
    rows = [("place", "driver", "time", "laps")]
    for place, each in enumerate(sorted(outcomes, key=lambda each: each.rank), 1):
        laps = " ".join(map(race_clock, each.lap_times))
        time = race_clock(each.seconds) if each.finished else f"{each.progress:.2f} laps driven"
        rows.append((str(place), each.driver.name, time, laps))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in rows
    ]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def _race_of(driver: StoredDriver, options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the race: those of a run, and those of the options."""
    kwargs = {key: value for key, value in driver.env_kwargs.items() if key not in _NOT_OF_RACE}
    return {**kwargs, **race_arguments(options)}


def _own(driver: StoredDriver) -> dict[str, Any]:
    """Return the arguments that belong to a driver."""
    own = {key: driver.env_kwargs[key] for key in _OF_DRIVER if key in driver.env_kwargs}
    if own.get("obs_type", "sensors") == "sensors" and own.get("sensors") is None:
        own["sensors"] = DEFAULT_SENSORS  # a race of several agents has another default
    return own


def _outcome(driver: StoredDriver, info: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a driver from the last info of its episode, in its full form."""
    laps = tuple(float(lap) for lap in info["lap_times"])
    finished = bool(info["is_success"])
    time = float(info["total_time"]) if finished else 0.0
    return Outcome(driver, finished, time, laps, float(info["progress"]))


# Side by side --------------------------------------------------------------------------------


def _side_by_side(drivers: Sequence[StoredDriver], options: argparse.Namespace) -> list[Outcome]:
    race = _race_of(drivers[0], options)
    seed = drivers[0].seed if options.seed is None else options.seed
    shown = bool(options.video) or not options.no_window
    if shown:  # nothing is to be seen until the last race has ended
        print_error(f"driving {len(drivers)} races, to be shown side by side ...")
    outcomes = [drive_alone(driver, race, seed, options.frames) for driver in drivers]
    if not shown:
        return outcomes
    how = Show(overlays=overlay_names(options), rom=race.get("rom"), state=race.get("state"))
    recordings = [each.recording for each in outcomes if each.recording is not None]
    names = ", ".join(driver.name for driver in drivers)
    with _screen(names, FRAMES_PER_SECOND, options) as screen:
        for picture, _ in show(recordings, how):
            if not screen.show(picture):
                break
    return outcomes


def drive_alone(
    driver: StoredDriver, race: Mapping[str, Any], seed: int, frames: int = DEFAULT_FRAMES
) -> Outcome:
    """Drive a race alone, without pictures.

    Args:
        driver: The driver.
        race: Arguments of the environment that belong to the race.
        seed: Seed of the episode.
        frames: Frames of the race clock after which the race ends.
    """
    kwargs = {**race, **_own(driver), "frame_skip": _frame_skip(driver)}
    kwargs |= {"truncate_on": [f"clock:{frames}", _STUCK], "terminate_on": ["finish"]}
    kwargs |= {"info_every_step": False}
    env = gym.make(driver.env_id, disable_env_checker=True, **kwargs)
    try:
        base: Any = env.unwrapped
        assert isinstance(base, MKDSEnv)
        recorder = Recorder(env)
        policy = driver.policy(env.observation_space, env.action_space)
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            action = np.array(policy(observation.tolist()), np.float32)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        recording = replace(recorder.recording(), label=driver.name)
        return replace(_outcome(driver, base.full_info()), recording=recording)
    finally:
        env.close()


def _default(argument: str) -> Any:
    return inspect.signature(MKDSEnv).parameters[argument].default


def _frame_skip(driver: StoredDriver) -> int:
    return int(driver.env_kwargs.get("frame_skip", _default("frame_skip")))


# Against each other --------------------------------------------------------------------------


def _versus(drivers: Sequence[StoredDriver], options: argparse.Namespace) -> list[Outcome]:
    """Drive one race of all drivers."""
    race = _race_of(drivers[0], options)
    if race.get("state") is not None:
        raise RunFolderError(
            f"{drivers[0].name} drives from a savestate: a race against each other starts on "
            "Kartlab; give --course"
        )
    race = {key: value for key, value in race.items() if key in _OF_VERSUS}
    own = {f"kart_{number}": _own(driver) for number, driver in enumerate(drivers)}
    for argument in _OF_DRIVER:
        values = {agent: kwargs.get(argument) for agent, kwargs in own.items()}
        race[argument] = {
            agent: _default(argument) if value is None else value for agent, value in values.items()
        }
    skips = [_frame_skip(driver) for driver in drivers]
    skip = math.gcd(*skips)
    env: Any = mkds_gym.parallel_env(
        **{
            **race,
            "agents": len(drivers),
            "opponents": 0,
            "items": options.items,
            "frame_skip": skip,
            "terminate_on": ["finish"],
            "truncate_on": [f"clock:{options.frames}", _STUCK],
            "info_type": "full",
            "overlays": overlay_names(options) if options.video or not options.no_window else [],
            "render_mode": None if options.no_window and not options.video else "rgb_array",
            "view": f"kart_{options.view - 1}",
        }
    )
    agents = dict(zip(env.possible_agents, drivers, strict=True))
    policies = {
        agent: driver.policy(env.observation_space(agent), env.action_space(agent))
        for agent, driver in agents.items()
    }
    seed = drivers[0].seed if options.seed is None else options.seed
    outcomes: dict[str, Outcome] = {}
    actions: dict[str, NDArray[Any]] = {}
    step = 0
    names = ", ".join(driver.name for driver in drivers)
    title = f"{names} (view of {drivers[options.view - 1].name})"
    with contextlib.closing(env), _screen(title, FRAMES_PER_SECOND / skip, options) as screen:
        observations, infos = env.reset(seed=seed)
        while env.agents:
            for agent, each in zip(agents, skips, strict=True):
                if agent in env.agents and step * skip % each == 0:
                    action = policies[agent](observations[agent].tolist())
                    actions[agent] = np.array(action, np.float32)
            observations, _, _, _, infos = env.step({each: actions[each] for each in env.agents})
            step += 1
            for agent in set(infos) - set(env.agents):
                outcomes[agent] = _outcome(agents[agent], infos[agent])
            if screen.wanted and not screen.show(env.render()):
                break
        for agent in env.agents:  # the window was closed
            outcomes[agent] = _outcome(agents[agent], infos[agent])
    return [outcomes[agent] for agent in agents]


# Pictures ------------------------------------------------------------------------------------


class _Screen:
    """A window, a video, both or neither."""

    def __init__(self, window: Window | None, video: VideoWriter | None) -> None:
        self._window, self._video = window, video
        self.wanted = window is not None or video is not None

    def show(self, picture: NDArray[np.uint8]) -> bool:
        """Show a picture; return False if the user closed the window and there is no video."""
        if self._video is not None:
            self._video.write(picture)
        if self._window is not None:
            self._window.show(picture)
            return not self._window.closed or self._video is not None
        return True


@contextlib.contextmanager
def _screen(title: str, rate: float, options: argparse.Namespace) -> Iterator[_Screen]:
    with contextlib.ExitStack() as stack:
        video = window = None
        if options.video:
            video = stack.enter_context(VideoWriter(options.video, rate, options.scale))
        if not options.no_window:
            window = Window(f"mkds-gym - {title}", rate, options.scale, wanted_by="mkds_neat.race")
            stack.callback(window.close)
        yield _Screen(window, video)


def command() -> NoReturn:
    """Run the command line and exit."""
    run_command(main)


if __name__ == "__main__":
    command()
