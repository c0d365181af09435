"""Links between the documents lead somewhere, and the README stays short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
LINK = re.compile(r"\]\((?!\w+:)([^)]*)\)")
PATH = re.compile(r"`((?:docs|app|workers|tests|examples)/[\w./-]+\.\w+)`")


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def faults(document: Path) -> Iterator[str]:
    text = document.read_text()
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link
    yield from (path for path in PATH.findall(text) if not (ROOT / path).exists())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_named_file_is_there(document: Path) -> None:
    assert list(faults(document)) == []


def test_the_readme_is_short_and_begins_with_a_command() -> None:
    words = (ROOT / "README.md").read_text().split()
    assert len(words) <= 600
    assert words.index("demo") <= 150
