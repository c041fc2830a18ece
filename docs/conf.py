"""Sphinx configuration: ``make docs`` builds the site into docs/_build."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from doc_tables import TABLES  # noqa: E402

from mkds_gym import __version__  # noqa: E402

project = "mkds-gym"
author = "The mkds-gym authors"
copyright = author  # noqa: A001 - Sphinx's own name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "mkds-gym"
html_static_path = ["_static"]
html_css_files = ["style.css"]
pygments_style = "friendly"
smartquotes = False

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # a short name that several modules have
# Names of other projects, and the short names that docstrings use, have no page here.
nitpick_ignore_regex = [("py:.*", r".*")]


class Table(SphinxDirective):
    """``{table} NAME ARGUMENT ...``: a table of docs/doc_tables.py.

    The content is for those who read the Markdown itself, and is left out.
    """

    has_content = True

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        """Parse the table where the directive stands."""
        name, *arguments = self.arguments
        return self.parse_text_to_nodes(TABLES[name](*arguments), allow_section_headings=True)


def fences_to_directives(*arguments: Any) -> None:
    """Turn Markdown code fences in a docstring into reStructuredText, in place."""
    lines: list[str] = arguments[-1]
    result: list[str] = []
    inside = False
    for line in lines:
        fence = re.match(r"(\s*)```(\w*)\s*$", line)
        if fence:
            inside = not inside
            result += (
                ["", f"{fence[1]}.. code-block:: {fence[2] or 'text'}", ""] if inside else [""]
            )
        else:
            result.append(f"    {line}" if inside else line)
    lines[:] = result


def setup(app: Sphinx) -> None:
    """Register the directive and the conversion."""
    app.add_directive("table", Table, override=True)
    # Before napoleon, which takes the lines of a section apart.
    app.connect("autodoc-process-docstring", fences_to_directives, priority=400)
