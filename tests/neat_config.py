"""A complete config, changed for tests."""

from __future__ import annotations

import re
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "benchmarks" / "evolution.ini"


def config_text(**changes: object) -> str:
    """The example with ``section__key=value`` replaced, added, or (value None) taken out."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for name, value in changes.items():
        section, key = name.split("__")
        if f"[{section}]\n" not in text:
            text += f"[{section}]\n"
        head, tail = text.split(f"[{section}]\n", 1)
        body, *rest = re.split(r"(?m)^(?=\[)", tail, maxsplit=1)
        body = re.sub(rf"(?m)^{key} *=.*\n", "", body)
        line = "" if value is None else f"{key} = {value}\n"
        text = f"{head}[{section}]\n{line}{body}{''.join(rest)}"
    return text
