"""The files that a comparison is for: tables and curves."""

from __future__ import annotations

from mkds_gym.utils.files import write_bytes
from mkds_neat.compare.curves import draw
from mkds_neat.compare.store import Store
from mkds_neat.compare.summary import Line, markdown, runs_csv, summarize, table_csv
from mkds_neat.errors import RunFolderError


def write_output(store: Store) -> list[Line]:
    """Write tables and curves of the complete runs.

    Returns:
        The lines of the table; empty, with nothing written, before the first run is complete.
    """
    plan = store.plan
    measures = {
        run.name: each for run in plan.runs if (each := store.measures(run.name)) is not None
    }
    if not measures:
        return []
    references = {
        course: times for course in plan.courses if (times := store.reference(course)) is not None
    }
    unseen = store.unseen()
    lines, overall = summarize(plan, measures, references, unseen)
    store.write_text("table.md", markdown(lines, overall, references))
    store.write_text("table.csv", table_csv(lines))
    store.write_text("runs.csv", runs_csv(plan, measures, unseen))
    for form in ("svg", "png"):
        data = draw(plan, measures, references, form)
        write_bytes(store.path / f"curves.{form}", data, RunFolderError)
    return lines
