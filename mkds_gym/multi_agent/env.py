"""`MKDSParallelEnv`: a VS race of several agents, as a PettingZoo Parallel environment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle, seeding
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from mkds_gym.components.events import Event
from mkds_gym.components.info import INFO_TYPES, InfoType
from mkds_gym.components.metrics import Metric
from mkds_gym.components.observations import SensorLike
from mkds_gym.components.rewards import Reward
from mkds_gym.course import Course
from mkds_gym.display.live_window import LiveWindow
from mkds_gym.display.window import DEFAULT_SCALE, MAX_SCALE
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import SCREENS
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.episodes.episode_env import MAX_FRAME_SKIP, RENDER_MODES
from mkds_gym.episodes.race_config import RaceArguments, RaceConfig
from mkds_gym.episodes.race_start import PRIMING_FRAMES, RaceStart
from mkds_gym.episodes.start_manager import NO_RACE, StartManager, UsesStarts
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.kartlab.host_drivers import NOBODY, HostDrivers, hosting_refusal
from mkds_gym.multi_agent.agents import make_agents
from mkds_gym.multi_agent.global_state import global_state, global_state_space
from mkds_gym.multi_agent.watcher import RaceWatcher
from mkds_gym.overlays import OverlayLike, make_overlays
from mkds_gym.race.frames import RaceFrames
from mkds_gym.race.race_copy import RaceCopy
from mkds_gym.race.state import RaceState
from mkds_gym.utils.arguments import boolean, choice, integer, shown
from mkds_gym.utils.one_thread import OneThread, one_thread

MIN_AGENTS: Final = 2
_OPTIONS: Final = ("course_seed",)


class MKDSParallelEnv(UsesStarts, OneThread, ParallelEnv, EzPickle):  # type: ignore[misc]
    """A race of 2 to 8 agents against each other, and against CPU karts.

    Agent ``kart_0`` drives kart 0, ``kart_1`` kart 1, and so on. All karts hit each other, and
    share one clock, the item boxes and the items. The cartridge is Kartlab.

    Actions, observations, rewards, events and infos of each agent are those of `MKDSEnv` in the
    mode ``vs``. A step runs ``frame_skip`` frames, in which all agents hold the keys of their
    actions.

    ## Episode end

    Agents end one by one: an event of ``terminate_on`` or ``truncate_on`` that happens to an agent
    ends the episode of this agent only. Its kart coasts to a stop and stays on the course. The
    next step no longer takes an action for the agent. When `agents` is empty, call `reset`; until
    then, ``step({})`` does nothing and returns empty dicts.

    ## Different arguments for the agents

    ``obs_type``, ``sensors``, ``action_type``, ``reward``, ``metrics``, ``terminate_on`` and
    ``truncate_on`` take a dict from each agent's name to its value as well:
    ``reward={"kart_0": "racing", "kart_1": "progress"}``.

    Args:
        agents: number of karts that agents drive, 2 to 8.
        opponents: number of CPU karts besides. Up to 8 karts race.
        rom: path of a Kartlab image, such as one with a custom course; None uses ``MKDS_ROM`` if
            set, else the bundled Kartlab.
        course: name of the course, or ``"random"``, as for `MKDSEnv`.
        laps: laps of the race, 1 to 9; None uses the course's number.
        obs_type: ``"sensors"``, ``"dict"``, a sensor's name, or a list of sensors.
        sensors: sensors of the ``obs_type`` ``sensors`` and ``dict``. None, with ``"sensors"``, is
            ``("seed6", "opponents")``.
        action_type: as for `MKDSEnv`; ``"discrete_items"`` uses items.
        frame_skip: emulated frames per step, 1 to 60.
        reward: name of a scorer, a `Reward`, or a function from the metrics to a score.
            ``"racing"`` pays for progress and for each kart that the agent overtakes.
        metrics: names or objects; None means the default metrics and ``place``.
        terminate_on: names or objects of events that terminate an agent's episode.
        truncate_on: names or objects of events that truncate an agent's episode.
        info_type: ``"numeric"`` or ``"full"``, see `MKDSEnv`.
        render_mode: None, ``"rgb_array"`` or ``"human"``.
        screens: ``"top"``, ``"bottom"`` or ``"both"``; for rendering.
        view: agent whose view is rendered; None is ``"kart_0"``.
        random_grid: whether each reset draws which agent drives which of the agents' karts, and
            so who starts in front. False: ``kart_0`` drives the first of them.
        course_seed: seed of the random course; this and the following as for `MKDSEnv`.
        difficulty: of random courses, from 0 to 1.
        course_set: ``"train"`` or ``"test"``: a random course of that set at every reset; or a
            list of courses, of which every reset draws one.
        engine_class: 50, 100 or 150.
        mirror: whether left and right of the course are exchanged.
        opponent_strength: of CPU karts, ``"easy"``, ``"normal"`` or ``"hard"``; None is normal.
        items: whether the course has item boxes.
        overlays: names, numbers or objects of overlays to draw on rendered pictures, from the view
            of `view`; see `mkds_gym.overlays`. Needs a ``render_mode``.
        window_scale: initial scale of the window of ``"human"``, 1 to 8.

    Raises:
        ValueError, TypeError: an argument is wrong.
        CartridgeError: the cartridge cannot be used.

    Attributes:
        possible_agents: names of all agents.
        agents: names of the agents whose episode is under way; empty before the first reset.
        cartridge: the cartridge in the console.
        np_random: draws courses, the seeds of races, and the grid.
        starts: brings the console to the start of each episode.
        state_space: space of `state`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by PettingZoo
        "name": "mkds_v0",
        "render_modes": ["human", "rgb_array"],
        "render_fps": round(FRAMES_PER_SECOND),
        "is_parallelizable": True,
    }

    def __init__(
        self,
        agents: int = 2,
        opponents: int = 0,
        rom: str | os.PathLike[str] | None = None,
        course: str | None = RaceArguments.course,
        laps: int | None = RaceArguments.laps,
        obs_type: str | Sequence[SensorLike] | Mapping[str, Any] = "sensors",
        sensors: SensorLike | Sequence[SensorLike] | Mapping[str, Any] | None = None,
        action_type: str | Mapping[str, str] = "discrete",
        frame_skip: int = 4,
        reward: str
        | Reward
        | Callable[[Mapping[str, float]], float]
        | Mapping[str, Any] = "racing",
        metrics: str | Metric | Sequence[str | Metric] | Mapping[str, Any] | None = None,
        terminate_on: str | Event | Sequence[str | Event] | Mapping[str, Any] = ("finish",),
        truncate_on: str | Event | Sequence[str | Event] | Mapping[str, Any] = (
            "clock",
            "stuck",
            "wrong_way",
        ),
        info_type: InfoType = "numeric",
        render_mode: str | None = None,
        screens: str = "top",
        view: str | None = None,
        random_grid: bool = False,
        course_seed: int | None = RaceArguments.course_seed,
        difficulty: float | None = RaceArguments.difficulty,
        course_set: str | Sequence[str] | None = None,
        engine_class: int = RaceArguments.engine_class,
        mirror: bool = RaceArguments.mirror,
        opponent_strength: str | None = RaceArguments.opponent_strength,
        items: bool = RaceArguments.items,
        overlays: OverlayLike | Sequence[OverlayLike] = (),
        window_scale: int = DEFAULT_SCALE,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name != "self"}
        EzPickle.__init__(self, **arguments)
        OneThread.__init__(self)
        count = integer("agents", agents, MIN_AGENTS, MAX_DRIVERS)
        cpus = integer("opponents", opponents, 0, MAX_DRIVERS - MIN_AGENTS)
        if count + cpus > MAX_DRIVERS:
            raise ValueError(
                f"agents={count} and opponents={cpus} are {count + cpus} karts: a race has at most "
                f"{MAX_DRIVERS}"
            )
        self.frame_skip: Final = integer("frame_skip", frame_skip, 1, MAX_FRAME_SKIP)
        self._info_type = choice("info_type", info_type, INFO_TYPES)
        self.render_mode = choice("render_mode", render_mode, RENDER_MODES)
        self.screens: Any = choice("screens", screens, SCREENS)
        integer("window_scale", window_scale, 1, MAX_SCALE)
        drawn_over = make_overlays(overlays)
        if drawn_over and render_mode is None:
            raise ValueError(
                f"overlays={shown(overlays)} are drawn by render(): pass a render_mode too"
            )
        self._random_grid = boolean("random_grid", random_grid)
        rate = max(1, round(FRAMES_PER_SECOND / self.frame_skip))
        self.metadata = {**self.metadata, "render_fps": rate}
        self.possible_agents = [f"kart_{number}" for number in range(count)]
        self.agents: list[str] = []
        self.view = self.possible_agents[0] if view is None else view

        self._agents = make_agents(self.possible_agents, arguments)
        self._keys_of = {name: agent.actions.keys for name, agent in self._agents.items()}
        self._observation_spaces = {
            name: agent.observation_builder.space for name, agent in self._agents.items()
        }
        self._action_spaces = {name: agent.actions.space for name, agent in self._agents.items()}
        self._karts = count + cpus
        self.state_space = global_state_space(self._karts)

        self.cartridge: Final = Cartridge.open(rom)
        if refusal := hosting_refusal(self.cartridge):
            raise ValueError(
                f"rom={shown(str(self.cartridge.path))}: races of several agents need Kartlab, and "
                f"{refusal}; or leave out rom, and unset MKDS_ROM"
            )
        race = RaceArguments.select({**arguments, "mode": "vs", "opponents": cpus})
        config = RaceConfig(self.cartridge, race, has_state=False, hosted=count)
        self.starts = StartManager(self.cartridge, config, None)

        self.np_random, self.np_random_seed = seeding.np_random()
        self._drivers = dict(zip(self.possible_agents, range(count), strict=True))
        self._races: dict[str, RaceState] = {}
        self._copied: RaceCopy | None = None
        self._host: HostDrivers | None = None
        self._start: RaceStart | None = None
        self._was_reset = False
        self._stepped: Sequence[str] = ()  # agents of the last step
        self._closed = False
        window = None
        if render_mode == "human":
            window = LiveWindow(f"MKDS-v0 - {self.cartridge.title}", window_scale)
        self._watcher = RaceWatcher(drawn_over, window)

    # PettingZoo's Parallel API -----------------------------------------------------------------

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """Return the observation space of an agent."""
        return self._observation_spaces[agent]

    def event_names(self, agent: str) -> tuple[str, ...]:
        """Return the names of the events of an agent, in the order of ``events`` of its info."""
        return tuple(event.name for event in self._agents[agent].stats.events)

    def action_space(self, agent: str) -> gym.Space[Any]:
        """Return the action space of an agent."""
        return self._action_spaces[agent]

    @one_thread
    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Restore the race start and begin an episode of all agents.

        Args:
            seed: seeds ``np_random``. Equal seeds and actions give equal results and memory, in
                every process. None goes on with the generator.
            options: ``course_seed`` is the random course of this episode. Other options are
                ignored, with a warning.

        Returns:
            Observations and infos by agent.

        Raises:
            ValueError, TypeError: an option is wrong.
            ConsoleError: the cartridge cannot host the drivers, or the emulator cannot be started.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        self._check_open()
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(
                f"options={shown(options)} is not a dict: expected a dict of {', '.join(_OPTIONS)}"
            )
        known: dict[str, Any] = {}
        for option, value in (options or {}).items():
            if option in _OPTIONS:
                known[option] = value
            else:
                warnings.warn(
                    f"option {shown(option)} of reset() is unknown and ignored: expected "
                    f"{', '.join(_OPTIONS)}",
                    stacklevel=3,  # past `one_thread`
                )
        checked = self.starts.check_options(known)
        if seed is not None:
            self.np_random, self.np_random_seed = seeding.np_random(integer("seed", seed, 0))
        self.agents, self._was_reset = [], False  # until the reset is complete
        self._start = start = self.starts.choose(checked, self.np_random)
        console, reader = self.starts.go_to(start, self.np_random)
        numbers = list(range(len(self.possible_agents)))
        if self._random_grid:
            self.np_random.shuffle(numbers)
        self._drivers = dict(zip(self.possible_agents, numbers, strict=True))
        self._host = host = HostDrivers(console.ram)
        host.keys[:] = 0
        host.shown = self._shown
        self._watcher.restart()
        self._watcher.follow(console.ram, reader, host.shown)
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, draw=self.render_mode is not None)
            copied = reader.copy()
            self._watcher.frame(copied, 0)
        self._look(copied)
        for name, agent in self._agents.items():
            agent.begin(self._races[name], start.course)
        self._stepped = ()
        self._watcher.show(self)
        observations = self._observations(self.possible_agents)
        infos = {name: self._info(name, ()) for name in self.possible_agents}
        self.agents, self._was_reset = list(self.possible_agents), True
        return observations, infos

    @one_thread
    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, Any],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Hold the keys of all agents' actions for ``frame_skip`` frames.

        Args:
            actions: an element of its action space for each agent in `agents`.

        Returns:
            Observations, rewards, terminations, truncations and infos, by agent. They have the
            agents that were in `agents` before the step.

        Raises:
            ValueError: an action is missing, not in its space, or for an agent that is not in
                `agents`. No frame was run.
            TypeError: `actions` is not a dict.
            gymnasium.error.ResetNeeded: no episode is under way.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        keys = self._keys(actions)
        if not keys:
            return {}, {}, {}, {}, {}
        names, self.agents, self._was_reset = self.agents, [], False  # until the step is complete
        copies = self._run_frames(keys)
        course, drivers = self.course, self._drivers
        over = {
            name: self._agents[name].advance(RaceFrames(copies, drivers[name]), course)
            for name in names
        }
        self._look(copies[-1])
        self._stepped = names
        ends = {name: self._agents[name].ends(events) for name, events in over.items()}
        results = (
            self._observations(names),
            {name: self._agents[name].last_reward for name in names},
            {name: terminated for name, (terminated, _) in ends.items()},
            {name: truncated for name, (_, truncated) in ends.items()},
            {name: self._info(name, events) for name, events in over.items()},
        )
        self.agents, self._was_reset = [name for name in names if not over[name]], True
        return results

    @one_thread
    def render(self) -> NDArray[np.uint8] | None:
        """Return the picture of the last frame, from the view of `view`.

        Returns:
            uint8 RGB of shape (192, 256, 3), or (384, 256, 3) for both screens, in render mode
            ``rgb_array``; else None.
        """
        if self.render_mode is None:
            gym.logger.warn(
                "env.render() does nothing without a render_mode: use "
                "mkds_gym.parallel_env(render_mode='rgb_array')"
            )
        return self.picture() if self.render_mode == "rgb_array" else None

    def state(self) -> NDArray[np.float32]:
        """Return the state of all karts, for a critic that sees everything.

        Returns:
            float32 of shape (karts x 13,): for each kart position (3, in 2,500 world units),
            velocity (3, world units per frame), forward direction (3), lap, progress of the race
            (0 to 1), place (1 leads) and whether it has finished. The agents' karts come first, in
            the order of `possible_agents`, then the CPU karts.

        Raises:
            NoRaceError: before the first reset.
        """
        copied = self._copied
        if copied is None:
            raise NoRaceError(NO_RACE)
        agents = list(self._drivers.values())
        return global_state(copied, (*agents, *range(len(agents), self._karts)))

    @one_thread
    def close(self) -> None:
        """Close console and window. A second call does nothing."""
        self._closed = True
        self.agents = []
        try:
            self._watcher.close(self)
        finally:
            self.starts.close()
            self._start, self._host, self._copied = None, None, None
            self._races = {}

    # Public attributes -------------------------------------------------------------------------

    @property
    def view(self) -> str:
        """Agent whose view is rendered; may be set between steps.

        The picture follows with the next step, or two frames later if a step is shorter. Set the
        view of a wrapped environment as ``env.unwrapped.view``.
        """
        return self._view

    @view.setter
    def view(self, agent: str) -> None:
        self._view = choice("view", agent, self.possible_agents)

    @property
    def course(self) -> Course:
        """The course of the race.

        Raises:
            NoRaceError: before the first reset, and after `close`.
        """
        start = self._start
        if start is None:
            raise NoRaceError(NO_RACE)
        return start.course

    @property
    def drivers(self) -> dict[str, int]:
        """The number of the kart that each agent drives in this episode."""
        return dict(self._drivers)

    @property
    def episode_over(self) -> bool:
        """Whether no agent's episode is under way."""
        return not self.agents

    def race(self, agent: str) -> RaceState:
        """Return the race at the end of the last step or reset, from the view of an agent.

        Raises:
            ValueError: there is no such agent.
            NoRaceError: before the first reset, and after `close`.
        """
        choice("agent", agent, self.possible_agents)
        races = self._races
        if not races:
            raise NoRaceError(NO_RACE)
        return races[agent]

    @one_thread
    def picture(self) -> NDArray[np.uint8]:
        """Return the picture on the screens, uint8 RGB; up to date with a `render_mode`.

        Overlays are drawn on the top screen.
        """
        picture = self.console.screen(self.screens)
        if self.screens == "bottom":
            return picture
        # After a change of `view`, the picture shows the agent in view before.
        shown = self._watcher.driver_in_picture
        name = next((name for name, driver in self._drivers.items() if driver == shown), self._view)
        return self._watcher.draw(
            picture, self._agents[name], self.course, stepped=name in self._stepped
        )

    # Internals ---------------------------------------------------------------------------------

    def _keys(self, actions: Mapping[str, Any]) -> dict[str, int]:
        """Return the keys of all agents; empty if no agent is left and no action is given."""
        if not isinstance(actions, Mapping):
            raise TypeError(f"actions={shown(actions)} is not a dict: expected an action by agent")
        if not self.agents:
            self._check_open()
            if self._was_reset and not actions:
                return {}
            raise gym.error.ResetNeeded(
                "no episode is under way: call env.reset() before the first step, after the end of "
                "all agents' episodes, and after a step that failed or was interrupted; a copy or "
                "a pickle of an environment holds its arguments only"
            )
        for name in actions:
            if name not in self.agents:
                why = (
                    "its episode has ended"
                    if name in self._agents
                    else f"there is no such agent among {', '.join(self.possible_agents)}"
                )
                raise ValueError(
                    f"actions has an action for {shown(name)}, but {why}: expected actions for "
                    f"{', '.join(self.agents)}"
                )
        keys: dict[str, int] = {}
        for name in self.agents:
            if name not in actions:
                raise ValueError(
                    f"actions has no action for {shown(name)}: expected actions for "
                    f"{', '.join(self.agents)}"
                )
            try:
                keys[name] = self._keys_of[name](actions[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return keys

    def _run_frames(self, keys: Mapping[str, int]) -> list[RaceCopy]:
        """Run the frames of a step; return a copy of the race after each."""
        console, copy = self.console, self.reader.copy
        host = self._host
        assert host is not None
        host.keys[:] = 0  # karts of agents that have ended coast
        for name, held in keys.items():
            host.keys[self._drivers[name]] = held
        host.shown = self._shown
        watcher = self._watcher
        # As in `MKDSEnv`: a picture is on the screen two frames after it was drawn.
        drawn = (self.frame_skip - PRIMING_FRAMES) % self.frame_skip if self.render_mode else -1
        if not watcher.needs_frames:
            return self.reader.run_and_copy(console, 0, self.frame_skip, drawn)
        watcher.follow(console.ram, self.reader, self._shown)
        copies = []
        for frame in range(self.frame_skip):
            console.step(0, 1, watcher.needs_picture or frame == drawn)
            copies.append(copy())
            watcher.frame(copies[-1], keys.get(self._view, 0))
            watcher.show(self)
        return copies

    @property
    def _shown(self) -> int:
        """The driver whose view the cartridge draws."""
        return NOBODY if self.render_mode is None else self._drivers[self._view]

    def _look(self, copied: RaceCopy) -> None:
        """Take a copy as the current race of all agents."""
        self._copied = copied
        self._races = {name: RaceState(copied, number) for name, number in self._drivers.items()}

    def _observations(self, names: Sequence[str]) -> dict[str, Any]:
        console, course = self.console, self.course
        return {
            name: self._agents[name].observation_builder.observe(console, self._races[name], course)
            for name in names
        }

    def _info(self, name: str, events: Sequence[Event]) -> dict[str, Any]:
        assert self._start is not None
        form, race, start = self._info_type, self._races[name], self._start
        return self._agents[name].info(
            form, race, start.course, start.course_name(race), start.course_seed, events
        )

    def _check_open(self) -> None:
        if self._closed:
            raise gym.error.ClosedEnvironmentError(
                "the environment is closed: make a new one with mkds_gym.parallel_env(...)"
            )
