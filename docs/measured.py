"""Write what was measured into the pages that show it: ``python docs/measured.py FILE``.

FILE is what ``python -m benchmarks --json FILE`` wrote (for the README and docs/benchmarks.md), or
``python -m mkds_gym.drivers --json FILE`` (for docs/kartlab.md).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.__main__ import report, table  # noqa: E402
from mkds_gym import drivers  # noqa: E402

README_ROWS = ("plain", "console", "env", "async_1", "async_2")


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between the marks ``<!-- name: begin -->`` and ``<!-- name: end -->``."""
    old = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    new, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}{text}\n{end}",
        old,
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{page}: the marks of {name!r} are there {count} times, not once")
    page.write_text(new, encoding="utf-8")


def short(result: dict[str, Any]) -> str:
    """The README's table: some rows, and a sentence about where and when."""
    rows = [result["frames_per_second"][key] for key in README_ROWS]
    plain = rows[0]["median"]
    about = result["machine"]
    parts = result["microseconds_per_step"]
    own = sum(parts[name] for name in ("observation", "metrics", "reward"))
    lines = table(
        ("frames per second", "median", "x plain"),
        [(row["title"], f"{row['median']:,.0f}", f"{row['median'] / plain:.1f}") for row in rows],
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Measured {result['date']} on {about['cores']} cores ({about['processor']}, load "
            f"average {about['load_average_before']} before: idle is 0); a real "
            f"console makes 59.8. Of a step of four frames, sensors, metrics and reward take "
            f"{own:.0f} microseconds; a reset takes "
            f"{result['milliseconds_per_reset']['median']:.0f} milliseconds.",
        ]
    )


def main() -> None:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description="Write what was measured into README and docs.")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="of python -m benchmarks --json, or python -m mkds_gym.drivers --json",
    )
    result = json.loads(parser.parse_args().file.read_text(encoding="utf-8"))
    if "drivers" in result:
        put(ROOT / "docs" / "kartlab.md", "drivers", drivers.report(drivers.load(result)))
        return
    put(ROOT / "docs" / "benchmarks.md", "measured", report(result))
    put(ROOT / "README.md", "speed", short(result))


if __name__ == "__main__":
    main()
