"""A section of a config file, and the reading of its values."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from mkds_gym.utils.arguments import shown


class Section(BaseModel):
    """A section of the file. Each field is a key; its description states what is accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def literal(text: str) -> Any:
    """Return the value of a Python literal; text that is not a literal stands for itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a suggestion of the most similar known word, or an empty string."""
    lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return f" (did you mean {shown(lower[near[0]])}?)" if near else ""


def words(text: Any) -> Any:
    """Split text at its commas."""
    if not isinstance(text, str):
        return text
    return tuple(word.strip() for word in text.split(",")) if text.strip() else ()
