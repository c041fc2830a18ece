"""Write measured numbers into the README and the docs: ``python docs/measured.py FILE``.

FILE is the ``--json`` output of one of

* ``python -m benchmarks``: README.md, docs/reference/benchmarks.md and its plot,
  docs/explanation/speed.md,
* ``python -m benchmarks.courses`` or ``benchmarks.soak``: docs/reference/benchmarks.md,
* ``python -m benchmarks.goals``: docs/how-to/train_good_drivers.md,
* ``python -m mkds_gym.drivers``: docs/reference/kartlab.md,

or what ``make evolve`` printed: README.md and docs/tutorial/first_driver.md.
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

from benchmarks import courses, goals, parts, soak  # noqa: E402
from benchmarks.__main__ import report  # noqa: E402
from benchmarks.report import cells, table  # noqa: E402
from benchmarks.rows import CONSOLE, ENV, GEOMETRY, NATIVE_2, PLAIN, eight_each  # noqa: E402
from mkds_gym.drivers import timing  # noqa: E402
from mkds_gym.errors import reason  # noqa: E402

BENCHMARKS = ROOT / "docs" / "reference" / "benchmarks.md"
README_ROWS = (PLAIN, GEOMETRY, CONSOLE, ENV, "AsyncVectorEnv, 2", NATIVE_2, eight_each(consoles=2))
SPEED = ROOT / "docs" / "explanation" / "speed.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "first_driver.md"
EVOLUTION_LINES = re.compile(r"\w+, seed |generation |a driver |champion: |saved: |pictures: ")
NEEDED = ("plain", "vector", "parts")
"""Tables of ``python -m benchmarks`` that the pages need; ``parts`` alone is enough for its own."""


def put(page: Path, name: str, text: str) -> None:
    """Replace the text between ``<!-- name: begin -->`` and ``<!-- name: end -->``."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    new, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}{text}\n{end}",
        page.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{page}: expected the marks of {name!r} once, found {count}")
    page.write_text(new, encoding="utf-8")


def measured_on(result: dict[str, Any]) -> str:
    """Return when and where a result was measured."""
    about = result["machine"]
    return (
        f"Measured {about['date']} on {about['cores']} cores ({about['processor']}, load average "
        f"{about['load_average_before']} before)."
    )


def readme_table(result: dict[str, Any]) -> str:
    """Return the README's table of speeds."""
    rows = []
    for title in README_ROWS:
        row = result["tables"]["plain"][title]
        if "missing" in row:
            continue
        ratio = ("1", "") if title == PLAIN else cells(row["ratio"], ".2f")
        rows.append((title, f"{row['frames_per_second']['median']:,.0f}", *ratio))
    return (
        f"{table(('driver frames per second', 'median', 'x plain', 'quartiles'), rows)}\n\n"
        f"{measured_on(result)} A real console runs 59.8 frames per second."
    )


def put_evolution(output: str) -> None:
    """Write what an evolution printed into the README, and its generations into the tutorial."""
    lines = [line for line in output.splitlines() if EVOLUTION_LINES.match(line)]
    if not any(line.startswith("champion: ") for line in lines):
        raise SystemExit("expected the output of a complete evolution, as of make evolve")
    generations = [line for line in lines if line.startswith(("generation ", "a driver "))]
    put(ROOT / "README.md", "evolve", "```text\n" + "\n".join(lines) + "\n```")
    put(TUTORIAL, "evolve", "```text\n" + "\n".join(generations) + "\n```")


def draw_plot(result: dict[str, Any], picture: Path) -> None:
    """Draw the speeds of the vector environments, relative to `NATIVE_2`."""
    from matplotlib.figure import Figure

    rows = {t: row for t, row in result["tables"]["vector"].items() if "ratio" in row}
    speed = rows[NATIVE_2]["frames_per_second"]["median"]
    titles = list(rows)[::-1]
    ratios = [rows[title]["ratio"] for title in titles]
    errors = [
        [speed * (ratio["median"] - ratio["low"]) for ratio in ratios],
        [speed * (ratio["high"] - ratio["median"]) for ratio in ratios],
    ]
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.barh(titles, [speed * ratio["median"] for ratio in ratios], xerr=errors, capsize=3)
    axes.set_xlabel("driver frames per second, all environments together")
    about = result["machine"]
    axes.set_title(f"{about['cores']} cores ({about['processor']}), {about['date']}", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(picture, dpi=110, metadata={"Software": None})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        argv: arguments; None takes those of the process.

    Raises:
        SystemExit: the file is not the complete output of one of the commands.
    """
    parser = argparse.ArgumentParser(description="Write measured numbers into README and docs.")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="--json output of python -m benchmarks, benchmarks.courses, benchmarks.goals, "
        "benchmarks.soak or mkds_gym.drivers; or the output of make evolve",
    )
    file = parser.parse_args(argv).file
    try:
        text = file.read_text(encoding="utf-8")
        if "\nchampion: " in text:
            put_evolution(text)
            return
        result = json.loads(text)
    except (OSError, ValueError) as error:
        parser.error(f"{file} is not a complete --json output: {reason(error)}")
    if "drivers" in result:
        times = f"{timing.report(timing.load(result))}\n\nDriven {result['date']}."
        put(ROOT / "docs" / "reference" / "kartlab.md", "drivers", times)
    elif "eight_karts" in result:
        put(BENCHMARKS, "courses", courses.report(result))
    elif "goals" in result:
        put(ROOT / "docs" / "how-to" / "train_good_drivers.md", "goals", goals.report(result))
    elif "growth" in result:
        put(BENCHMARKS, "soak", soak.summary(result))
    else:
        tables = result.get("tables", {})
        missing = [name for name in NEEDED if name not in tables]
        if missing and list(tables) != ["parts"]:
            raise SystemExit(f"{file} is incomplete: {', '.join(missing)} missing; run it again")
        put(SPEED, "parts", f"{parts.report(tables['parts'])}\n\n{measured_on(result)}")
        if not missing:
            put(BENCHMARKS, "measured", report(result))
            draw_plot(result, ROOT / "docs" / "images" / "throughput.png")
            put(ROOT / "README.md", "speed", readme_table(result))


if __name__ == "__main__":
    main()
