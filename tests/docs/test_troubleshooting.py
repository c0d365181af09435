"""docs/troubleshooting.md has a section for every code, under a heading that is its anchor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import app.single_host.stopping
import app.web.problems  # noqa: F401 - these two define errors beside app.errors
from app.domain.failure import FailureCode
from app.errors import EvalqError

TROUBLESHOOTING = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


def kinds(kind: type[EvalqError]) -> Iterator[type[EvalqError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_every_code_has_one_section_and_every_section_a_code() -> None:
    raised = {kind.code for kind in kinds(EvalqError) if kind.__module__.startswith("app.")}
    sections = re.findall(r"^### (.*)$", TROUBLESHOOTING.read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(raised | set(FailureCode))


def test_every_section_says_something() -> None:
    for section in TROUBLESHOOTING.read_text().split("\n### ")[1:]:
        assert len(section.split("\n## ")[0].split("\n", 1)[1].strip()) > 20, section
