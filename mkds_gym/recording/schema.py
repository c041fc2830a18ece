"""The schema of a recording's header, as `.mkr` files and movies of this package contain it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from mkds_gym.errors import RecordingError
from mkds_gym.utils.reading import PathText, Text, validated

MAX_FRAMES: Final = 60 * 60 * 60 * 24
"""Longest recording, in frames: about a day."""

_Digest = Annotated[str, StringConstraints(pattern="^([0-9a-f]{64})?$")]
_Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
_Names = Text | list[Text] | None
_OPEN: Final = ConfigDict(strict=True, extra="allow")
"""Other versions may note more."""
_CLOSED: Final = ConfigDict(strict=True, extra="forbid")


class _Start(BaseModel):
    model_config = _CLOSED

    kind: Literal["race", "power_on", "state"]
    race: dict[Text, Text | int | FiniteFloat | bool | list[Text] | None] | None = None
    course_seed: _Seed | None = None
    race_seed: _Seed | None = None
    countdown: bool = False
    digest: _Digest = ""
    path: PathText | None = None
    frame: Annotated[int, Field(ge=0, lt=1 << 53)] = 0

    @model_validator(mode="after")
    def _check(self) -> _Start:
        if self.kind == "race" and self.race is None:
            raise ValueError("a start at a race needs race")
        if self.kind != "state" and self.frame > MAX_FRAMES:
            raise ValueError("the start is more than a day after power-on")
        return self


class _Environment(BaseModel):
    model_config = _OPEN

    frame_skip: Annotated[int, Field(ge=1, le=MAX_FRAMES)] = 1
    action_type: Text | None = None
    reward: Text | None = None
    obs_type: _Names = None
    sensors: _Names = None
    screens: _Names = None
    metrics: _Names = None
    terminate_on: _Names = None
    truncate_on: _Names = None
    laps: Annotated[int, Field(ge=1, le=9)] | None = None


class _Result(BaseModel):
    model_config = _OPEN

    finished: bool = False
    total_time: FiniteFloat | None = None
    lap_times: list[FiniteFloat] = []
    progress: FiniteFloat = 0.0
    place: int = 1
    events: list[Text] = []

    @model_validator(mode="after")
    def _check(self) -> _Result:
        if self.finished and self.total_time is None:
            raise ValueError("a finished race needs total_time")
        return self


class _Header(BaseModel):
    model_config = _CLOSED

    rom: Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]
    title: Text
    build_id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    jit: bool
    start: _Start
    lead: Annotated[int, Field(ge=0, le=MAX_FRAMES)] = 0
    environment: _Environment = _Environment()
    result: _Result = _Result()
    ram: _Digest = ""
    label: Text = ""
    made_by: Text = ""


_HEADER: Final = TypeAdapter(_Header)


def check_header(values: Any, name: str, frames: int, has_state: bool) -> None:
    """Check the header of a recording.

    Args:
        values: parsed JSON.
        name: name of the recording for messages.
        frames: frames of the recording.
        has_state: whether the recording contains the savestate of its start.

    Raises:
        RecordingError: a value is missing, unknown, of another type or out of range.
    """

    def error(message: str) -> RecordingError:
        return RecordingError(f"{message}: record it again")

    header = validated(_HEADER, values, name, error)
    if header.lead > frames:
        raise error(f"{name} is damaged (lead: {header.lead} of {frames} frames)")
    if header.start.kind == "state" and header.start.path is None and not has_state:
        raise error(f"{name} is damaged (start: the savestate is missing)")
