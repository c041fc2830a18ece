"""Findings: what one check says, and what to do about the finding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

OK: Final = "ok"
ODD: Final = "odd"
BAD: Final = "bad"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        part: what was checked, such as ``"cartridge"`` or ``"course mario_course"``.
        level: ``"ok"``; ``"odd"`` for what is unusual but may work; ``"bad"`` for what does not.
        text: what was found.
        advice: what to do; empty if the level is ``"ok"``.
    """

    part: str
    level: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<4} {self.part}: {self.text}"
        return without_home(line + f"\n     -> {self.advice}" * bool(self.advice))


def without_home(text: str) -> str:
    """Return a text without the path of the user's home, which often is a person's name."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def judged(part: str, problems: list[str], text: str, advice: str) -> Finding:
    """Return an ok finding, or an odd one that lists the problems."""
    if not problems:
        return Finding(part, OK, text)
    return Finding(part, ODD, f"{text}; odd: {'; '.join(problems)}", advice)
