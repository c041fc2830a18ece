"""Watch a driver of a run: ``python -m mkds_neat.watch RUN``, or ``mkds-watch RUN``.

Exit status: 0 done, 1 failed, 2 bad arguments, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import gymnasium as gym
import numpy as np

from mkds_gym.display.live_window import LiveWindow
from mkds_gym.display.video import race_clock
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import MKDSError, RecordingError
from mkds_gym.recording.recorder import Recorder
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)
from mkds_gym.utils.files import why_unwritable
from mkds_neat.config.environment import is_mkds
from mkds_neat.race_options import add_race_options, check_display, overlay_names, race_arguments
from mkds_neat.stored_driver import CHAMPION, StoredDriver, load_driver

_PROGRAM: Final = "python -m mkds_neat.watch"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog=_PROGRAM,
        description="Watch a driver of a run: its champion, or any individual. ESC closes the "
        "window.",
    )
    parser.add_argument(
        "run", type=path_or_name, metavar="RUN", help="folder of a run, or a champion.json"
    )
    parser.add_argument(
        "individual",
        nargs="?",
        default=CHAMPION,
        metavar="ID",
        help="id of an individual in individuals.csv, or champion (default: %(default)s)",
    )
    parser.add_argument(
        "--generation", type=int, metavar="N", help="the best individual of this generation"
    )
    add_race_options(parser)
    parser.add_argument(
        "--save",
        type=path_or_name,
        metavar="FILE",
        help="record the race for python -m mkds_gym.replay (.mkr)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: Command-line arguments; None takes those of the process.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        driver = load_driver(options.run, options.individual, options.generation)
        driver.check_trusted(options.trust)
        if options.save and (problem := why_unwritable(options.save)):
            raise RecordingError(f"--save {options.save}: {problem}")
        if not options.no_window:
            check_display("mkds_neat.watch")
        print_line(f"{driver.name}: {_watch(driver, options)}")
        if options.save:
            print_line(f"saved: {options.save}")
    except (MKDSError, ValueError, TypeError, gym.error.Error) as error:
        print_error(f"{_PROGRAM}: error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _watch(driver: StoredDriver, options: argparse.Namespace) -> str:
    """Drive an episode, and return its result in words."""
    kwargs = dict(driver.env_kwargs)
    ours = is_mkds(driver.env_id)
    overlays = overlay_names(options)
    if ours:
        kwargs |= {**race_arguments(options), "info_every_step": True, "info_type": "full"}
        if overlays or not options.no_window:
            kwargs |= {"overlays": overlays, "render_mode": "rgb_array"}
    elif race_arguments(options) or overlays or options.save:
        raise ValueError(
            f"{driver.name} drives {driver.env_id}: options of the race, --overlays and --save "
            "are for MKDS-v0"
        )
    elif not options.no_window:
        kwargs["render_mode"] = "human"
    env: gym.Env[Any, Any] = gym.make(driver.env_id, disable_env_checker=True, **kwargs)
    try:
        base: Any = env.unwrapped
        recorder = Recorder(env) if options.save else None
        live = None
        if isinstance(base, MKDSEnv) and not options.no_window:
            live = LiveWindow(f"mkds-gym - {driver.name}", options.scale)
            base.viewer = live
        space = env.action_space
        policy = driver.policy(env.observation_space, space)
        seed = driver.seed if options.seed is None else options.seed
        elsewhere = driver.start is None or race_arguments(options)  # then from the grid
        start = None if elsewhere else {"progress": driver.start}
        observation, info = env.reset(seed=seed, options=start)
        over, score = False, 0.0
        while not over:
            if live is not None and live.window is not None and live.window.closed:
                if recorder is not None:
                    recorder.recording().save(options.save)
                return "the window was closed"
            action = np.array(policy(observation.tolist()), space.dtype)
            observation, reward, terminated, truncated, info = env.step(action)
            score += float(reward)
            over = terminated or truncated
        if recorder is not None:
            recorder.recording().save(options.save)
        return describe_result(info) if ours else f"score {score:.1f}"
    finally:
        env.close()


def describe_result(info: Mapping[str, Any]) -> str:
    """Return the end of a race in words.

    Args:
        info: The last info of an episode, in its full form.
    """
    laps = ", ".join(race_clock(lap) for lap in info["lap_times"])
    if info["is_success"]:
        return f"finished in {race_clock(info['total_time'])} (laps {laps})"
    ended = " and ".join(info["events"]) or "nothing"
    after = f", laps {laps}" if laps else ""
    return f"ended by {ended} in lap {info['lap']} after {info['progress']:.2f} laps{after}"


def command() -> NoReturn:
    """Run the command line and exit."""
    run_command(main)


if __name__ == "__main__":
    command()
