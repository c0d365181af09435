"""The table of docs/troubleshooting.md, which the command writes row by row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.vllm_failures.case import Finding
from tests.vllm_failures.cases import CASES

DOCUMENT = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
HEAD = "| what was done | code | message | way out | tried next | seconds |"
RULE = "|---|---|---|---|---|---|"
MOST_CHARACTERS = 170
"""Of a message or a hint."""


def row(finding: Finding) -> str:
    """One failure in a line."""
    failure = finding.failure
    words = (
        (f"`{failure.code}`", _cell(failure.message), _cell(failure.hint or "")) if failure else ("", "", "")
    )
    cells = (finding.case.done, *words, finding.cure, f"{finding.seconds:.1f}")
    return f"| {' | '.join(cells)} |"


def write(findings: Iterable[Finding]) -> None:
    """Put these rows into the document, in the order of the cases; the others stay as they are."""
    before, head, after = DOCUMENT.read_text().partition(f"{HEAD}\n{RULE}\n")
    lines = after.split("\n")
    count = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    rows = {line.split(" | ")[0]: line for line in lines[:count]}
    rows |= {f"| {finding.case.done}": row(finding) for finding in findings}
    known = [rows[done] for case in CASES.values() if (done := f"| {case.done}") in rows]
    DOCUMENT.write_text(before + head + "\n".join([*known, *lines[count:]]))


def _cell(words: str) -> str:
    short = words if len(words) <= MOST_CHARACTERS else f"{words[:MOST_CHARACTERS]} ..."
    return short.replace("|", "\\|")
