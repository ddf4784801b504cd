"""What the pages of the reference need beside mkdocstrings."""

from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings announce an indented example with ``::``, as reStructuredText does; Markdown would print it."""
    return html.replace("<p>::</p>\n", "").replace("::</p>", ":</p>")
