"""The section ``[ppo]``, for the competitor ``ppo`` of `mkds_neat.compare`."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field, model_validator

from mkds_neat.config.section import Section, words

PPO: Final = "ppo"
"""The competitor that is not a strategy of `mkds_neat`: PPO of Stable-Baselines3."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Sizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1024)], ...], BeforeValidator(words), Field(max_length=8)
]


class PPOSettings(Section):
    """Section ``[ppo]``. The fields describe themselves."""

    hidden: Sizes = Field(
        default="64,64",
        validate_default=True,
        description="nodes of each hidden layer of the policy and of the value function, tanh",
    )
    environments: Annotated[int, Field(ge=1, le=256)] = Field(
        default=16, description="environments that drive at the same time"
    )
    rollout: Annotated[int, Field(ge=2, le=100_000)] = Field(
        default=64, description="steps of each environment between two updates of the policy"
    )
    evaluate_every: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=4, description="updates between two evaluations of the policy"
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = Field(
        default=256, description="steps in a minibatch"
    )
    epochs: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=10, description="passes over the steps of an update"
    )
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=5e-4, description="step size of Adam"
    )
    gamma: Share = Field(default=0.98, description="discount of a step")
    gae_lambda: Share = Field(default=0.95, description="lambda of the advantages")
    clip_range: Annotated[float, Field(gt=0.0, le=10.0)] = Field(
        default=0.2, description="clipping of the ratio of probabilities"
    )
    entropy: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        default=0.01, description="weight of the entropy in the loss"
    )
    log_std: Annotated[float, Field(ge=-10.0, le=2.0)] = Field(
        default=0.0, description="logarithm of the first standard deviation of an action"
    )

    @model_validator(mode="after")
    def _check(self) -> PPOSettings:
        if self.batch_size > self.environments * self.rollout:
            raise ValueError(
                f"batch_size = {self.batch_size} is more than the "
                f"{self.environments * self.rollout} steps of environments and rollout"
            )
        return self
