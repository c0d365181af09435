"""docs/states.md draws the tables that the code decides by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from app.domain.job import MOVES, RETRYABLE, JobStatus
from app.domain.replica import REPLICA_MOVES

STATES = Path(__file__).parents[2] / "docs" / "states.md"
ARROW = re.compile(r"^    (\w+) --> (\w+)(: \w+)?$", re.MULTILINE)


def drawn(title: str) -> set[tuple[str, str, str]]:
    """The arrows of a section: from, to, label."""
    section = STATES.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    return set(ARROW.findall(section))


def arrows(moves: Mapping[Any, Iterable[Any]]) -> set[tuple[str, str, str]]:
    return {(str(old), str(new), "") for old, news in moves.items() for new in news}


def test_the_diagram_of_a_job_is_its_table_of_moves() -> None:
    retries = {(str(status), str(JobStatus.QUEUED), ": retry") for status in RETRYABLE}
    assert drawn("Job") == arrows(MOVES) | retries


def test_the_diagram_of_a_replica_is_its_table_of_moves() -> None:
    assert drawn("Replica") == arrows(REPLICA_MOVES)
