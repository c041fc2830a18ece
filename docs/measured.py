"""Write what was measured into the pages that show it: ``python docs/measured.py FILE``.

FILE is the ``--json`` output of one of

* ``python -m benchmarks``: README.md, docs/reference/benchmarks.md and its plot,
* ``python -m benchmarks.courses``, ``benchmarks.soak`` or ``benchmarks.viewer``:
  docs/reference/benchmarks.md,
* ``python -m mkds_gym.drivers``: docs/reference/kartlab.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import courses, soak, viewer  # noqa: E402
from benchmarks.__main__ import report  # noqa: E402
from benchmarks.plot import draw  # noqa: E402
from benchmarks.report import between, table  # noqa: E402
from benchmarks.tables import TABLES  # noqa: E402
from mkds_gym.drivers import timing  # noqa: E402
from mkds_gym.errors import reason  # noqa: E402

README_ROWS = ("plain", "console", "env", "async_2", "native_2")
"""Rows of the table ``plain``; all of them took turns with the first."""


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
    tables = result["tables"]
    plain = tables["plain"]
    first, *others = (plain["rows"][key] for key in README_ROWS)
    lines = [(first["title"], f"{first['median']:,.0f}", "1", "")]
    for row in others:
        times = plain["ratios"][f"{row['title']} / {first['title']}"]
        numbers = f"{row['median']:,.0f}", f"{times['median']:.2f}", between(times, ".2f")
        lines.append((row["title"], *numbers))
    about = result["machine"]
    calls = tables["states"]["milliseconds"]
    return "\n".join(
        [
            *table(("frames per second", "median", "x plain", "middle half"), lines),
            "",
            f"Measured {result['date']} on {about['cores']} cores ({about['processor']}, load "
            f"average {about['load_average_before']} before: idle is 0); a real console makes "
            f"59.8. A reset takes {calls['reset']['median']:.1f} milliseconds, going back to a "
            f"clone {calls['restore_state']['median']:.1f}.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.

    Raises:
        SystemExit: the file is not what one of the commands writes when it is done.
    """
    parser = argparse.ArgumentParser(description="Write what was measured into README and docs.")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="of python -m benchmarks, benchmarks.courses, benchmarks.soak, benchmarks.viewer or "
        "mkds_gym.drivers, with --json",
    )
    file = parser.parse_args(argv).file
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        # A command that was stopped leaves its file empty.
        parser.error(f"{file} is not what a measurement writes when it is done: {reason(error)}")
    if "drivers" in result:
        text = f"{timing.report(timing.load(result))}\n\nDriven {result['date']}."
        put(ROOT / "docs" / "reference" / "kartlab.md", "drivers", text)
        return
    if "viewer" in result:
        for name in result["viewer"]:
            put(ROOT / "docs" / "reference" / "benchmarks.md", name, viewer.report(result, name))
        return
    if "eight_karts" in result:
        put(ROOT / "docs" / "reference" / "benchmarks.md", "courses", courses.report(result))
        return
    if "growth" in result:
        put(ROOT / "docs" / "reference" / "benchmarks.md", "soak", soak.summary(result))
        return
    missing = [name for name in TABLES if name not in result.get("tables", {})]
    if missing:
        raise SystemExit(f"the run is not complete: {', '.join(missing)} missing; run it again")
    put(ROOT / "docs" / "reference" / "benchmarks.md", "measured", report(result))
    draw(result, ROOT / "docs" / "images" / "throughput.png")
    put(ROOT / "README.md", "speed", short(result))


if __name__ == "__main__":
    main()
