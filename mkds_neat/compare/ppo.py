"""PPO of Stable-Baselines3 as a competitor, on the frames, observations and actions of the others.

The reward of a step is the change of the config's scorer over the step, times
`mkds_gym.race.lengths.REWARD_PER_UNIT`: the rewards of an episode add up to the fitness of the
others. Between two evaluations, environments begin new episodes, and all random generators are
seeded from the run's seed and the number of the evaluation. A resumed run is therefore the same as
an uninterrupted one.

An evaluation is an episode with the mean of each action. Its driver is written to the tables as the
only individual of a generation, with the frames of training since the evaluation before. The frames
of evaluations are not counted, which favours PPO.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mkds_gym.components.rewards import ScoreChange
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_neat.compare.plan import PlannedRun
from mkds_neat.compare.store import Store
from mkds_neat.config import Config
from mkds_neat.config.ppo import PPO
from mkds_neat.errors import ConfigError, RunFolderError
from mkds_neat.evaluation import Evaluator
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import NetworkSpec, network_of_torch
from mkds_neat.results import Champion, Checkpoint, Row, RunFolder, RunInfo, Session
from mkds_neat.results.population import save_networks
from mkds_neat.results.tables import summarise

_SEEDS: Final = 1 << 31


def policy_network(parameters: Mapping[str, Any]) -> NetworkSpec:
    """Return the mean of the actions of an ``MlpPolicy`` as a network.

    Args:
        parameters: The policy's state, by name, as arrays. Its hidden layers use tanh.
    """
    # A checkpoint may have the names in another order: mlp_extractor.policy_net.0.weight and so on.
    hidden = sorted(
        (name for name in parameters if ".policy_net." in name),
        key=lambda name: int(name.split(".")[2]),
    )
    names = [*hidden, "action_net.weight", "action_net.bias"]
    return network_of_torch({name: parameters[name] for name in names})


class _Trainer:
    """The environments, and the policy as plain arrays."""

    def __init__(self, config: Config) -> None:
        from mkds_gym.integrations.stable_baselines3 import MKDSVecEnv

        self.settings = config.settings.ppo
        self.seed = config.run.seed
        number = self.settings.environments
        courses = config.plan.courses[: config.plan.episodes]
        # Drivers in one console are on one course, which no reset of one of them can change.
        draws = config.plan.drawn is not None and not courses
        alone = draws or bool(config.environment.unshareable)
        together = 1 if alone else min(number, MAX_DRIVERS)
        if courses:
            together = min(together, max(1, number // len(courses)))
        while number % together:
            together -= 1
        places = [courses[(i // together) % len(courses)] if courses else {} for i in range(number)]
        if config.scorer is None:
            raise ConfigError(f"ppo drives MKDS-v0 only, not {config.env_id}: leave out ppo")
        kwargs = {**config.env_kwargs, "reward": ScoreChange(config.scorer)}
        self.envs = MKDSVecEnv(
            number,
            drivers_per_console=together,
            num_threads=1,
            env_kwargs=[{**kwargs, **place} for place in places],
        )
        self.steps = number * self.settings.rollout
        """Steps of an update."""
        self.frames = self.steps * config.environment.frame_skip
        """Frames of an update."""

    def train(self, state: Mapping[str, Any] | None, segment: int, updates: int, stop: Any) -> Any:
        """Train for some updates.

        Args:
            state: What the last call returned; None at the start.
            segment: Number of the call, for its random generators.
            updates: Number of updates.
            stop: Called at every step; True ends the training.

        Returns:
            The parameters of policy and optimizer as plain data; None if ``stop`` ended it.
        """
        import stable_baselines3 as sb3
        import torch

        torch.set_num_threads(1)  # networks this small gain nothing, and other runs need the cores
        s = self.settings
        numbers = np.random.SeedSequence([self.seed, segment]).generate_state(1)
        model = sb3.PPO(
            "MlpPolicy",
            self.envs,
            n_steps=s.rollout,
            batch_size=s.batch_size,
            n_epochs=s.epochs,
            learning_rate=s.learning_rate,
            gamma=s.gamma,
            gae_lambda=s.gae_lambda,
            clip_range=s.clip_range,
            ent_coef=s.entropy,
            policy_kwargs={
                "net_arch": {"pi": list(s.hidden), "vf": list(s.hidden)},
                "log_std_init": s.log_std,
            },
            seed=int(numbers[0]) % _SEEDS,
            device="cpu",
        )
        if state is not None:
            _restore(model, state)
        model.learn(updates * self.steps, callback=lambda *_: not stop())
        return None if stop() else _state(model)


def _state(model: Any) -> dict[str, Any]:
    policy = {name: _plain(tensor) for name, tensor in model.policy.state_dict().items()}
    moments = [
        {name: _plain(tensor) for name, tensor in values.items()}
        for _, values in sorted(model.policy.optimizer.state_dict()["state"].items())
    ]
    return {"policy": policy, "optimizer": moments}


def _plain(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy().tolist()


def _restore(model: Any, state: Mapping[str, Any]) -> None:
    import torch

    def tensor(value: Any) -> Any:
        return torch.tensor(value, dtype=torch.float32)

    try:
        model.policy.load_state_dict({k: tensor(v) for k, v in state["policy"].items()})
        optimizer = model.policy.optimizer
        values = dict(enumerate({k: tensor(v) for k, v in m.items()} for m in state["optimizer"]))
        optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RunFolderError(
            f"a checkpoint of PPO is damaged: {str(error).splitlines()[0]}; remove the run's "
            "folder, and the comparison begins this run again"
        ) from error


def train(store: Store, planned: PlannedRun) -> int:
    """Do a run, or continue it.

    Args:
        store: The comparison.
        planned: The run.

    Returns:
        0; 128 and the signal's number if SIGINT or SIGTERM stopped the run.
    """
    stopped_by = 0

    def catch(number: int, frame: object) -> None:  # noqa: ARG001
        nonlocal stopped_by
        stopped_by = number

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, catch)
    config = store.plan.config(planned)
    with RunFolder.open(store.run_folder(planned.name)) as folder:
        folder.lock()
        _Run(config, folder, store.plan.frames, lambda: bool(stopped_by)).run()
    return 128 + stopped_by if stopped_by else 0


class _Run:
    """A run in its folder, as `mkds_neat.evolution.Evolution` for strategies."""

    def __init__(self, config: Config, folder: RunFolder, budget: int, stop: Any) -> None:
        self.config = config
        self.folder = folder
        self.budget = budget
        self.stop = stop
        checkpoint = folder.load_checkpoint()
        folder.rewind(checkpoint)
        self.segment = 0 if checkpoint is None else checkpoint.generation
        self.champion = None if checkpoint is None else checkpoint.champion
        saved: Mapping[str, Any] = {} if checkpoint is None else checkpoint.strategy
        self.frames = int(saved.get("frames", 0))
        self.state: Any = saved.get("state")
        sha1 = "" if config.environment.cartridge is None else config.environment.cartridge.sha1
        self.origin = {"rom_sha1": sha1} if sha1 else {}
        sessions = () if checkpoint is None else folder.info().sessions
        folder.save_info(
            RunInfo(
                PPO,
                config.run.seed,
                **self.origin,
                sessions=(*sessions, Session.begin(self.segment)),
            )
        )
        if checkpoint is None:
            self._checkpoint()

    def run(self) -> None:
        """Train and evaluate until the budget is spent, or `stop`."""
        trainer = _Trainer(self.config)
        with Evaluator(
            self.config.env_id,
            self.config.env_kwargs,
            workers=1,
            lanes=min(self.config.lanes, self.config.plan.episodes),
            seed=self.config.run.seed,
            scorer=self.config.scorer,
            vectorization="native",
            plan=self.config.plan,
        ) as evaluator:
            try:
                while not self.stop():
                    left = math.floor((self.budget - self.frames) / trainer.frames)
                    updates = min(left, trainer.settings.evaluate_every)
                    if updates < 1:
                        return
                    started = time.perf_counter()
                    state = trainer.train(self.state, self.segment, updates, self.stop)
                    if state is not None:
                        self.state = state
                        spent = updates * trainer.frames
                        self._evaluate(evaluator, spent, time.perf_counter() - started)
            finally:
                trainer.envs.close()

    def _evaluate(self, evaluator: Evaluator, spent: int, seconds: float) -> None:
        individual = Individual(self.segment, policy_network(self.state["policy"]), {})
        started = time.perf_counter()
        result = evaluator.evaluate([individual], generation=self.segment)[0]
        seconds += time.perf_counter() - started
        result = replace(result, record=replace(result.record, frames=spent))
        self._challenge(individual, result)
        row = Row(self.segment, individual, True, replace(result, recording=None))
        self.folder.add_individuals([row])
        self.folder.add_generation(summarise(self.segment, [row], 0, seconds, 1.0))
        limit = self.config.run.networks * 1_000_000
        save_networks(self.folder, self.segment, [individual], limit)
        self.segment += 1
        self.frames += spent
        self._checkpoint()

    def _challenge(self, individual: Individual, result: Result) -> None:
        new = Champion(
            id=individual.id,
            generation=self.segment,
            fitness=result.fitness,
            strategy=PPO,
            genome={},
            network=individual.network,
            env_id=self.config.env_id,
            env_kwargs={**self.config.env_kwargs, **self.config.plan.first_course},
            seed=self.config.plan.seed(self.config.run.seed, individual.id, 0, self.segment),
            record=result.record,
            start=self.config.plan.first_start,
            episodes=len(result.episodes),
            **self.origin,
        )
        old = self.champion
        comparable = self.config.plan.seeds != "generation"
        if old is None or not comparable or new.rank > old.rank:
            self.champion = new
            if result.recording is not None:
                self.folder.save_recording(new, result.recording)
            self.folder.save_champion(new)

    def _checkpoint(self) -> None:
        self.folder.save_checkpoint(
            Checkpoint(
                generation=self.segment,
                strategy={"frames": self.frames, "state": self.state},
                champion=self.champion,
                config=self.config.sections,
                origin=self.origin,
                tables=self.folder.tables(self.segment),
            )
        )
