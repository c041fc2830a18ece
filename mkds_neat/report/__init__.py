"""Pictures of a run, and its page: ``python -m mkds_neat.report RUN``."""

from __future__ import annotations

from mkds_neat.report.page import page_html, write_page
from mkds_neat.report.pictures import (
    GIF_LIMIT,
    Picture,
    gif,
    replay,
    strip,
    write_fitness_plot,
    write_pictures,
)

__all__ = [
    "GIF_LIMIT",
    "Picture",
    "gif",
    "page_html",
    "replay",
    "strip",
    "write_fitness_plot",
    "write_page",
    "write_pictures",
]
