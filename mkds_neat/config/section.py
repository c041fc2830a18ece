"""A section of a config file, and the reading of its values."""

from __future__ import annotations

import ast
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of the file. Each field is a key; its description states what is accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def literal(text: str) -> Any:
    """Return the value of a Python literal; text that is not a literal stands for itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def words(text: Any) -> Any:
    """Split text at its commas."""
    if not isinstance(text, str):
        return text
    return tuple(word.strip() for word in text.split(",")) if text.strip() else ()
