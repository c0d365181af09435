"""A job's log, which several processes wrote."""

from __future__ import annotations

from app.domain.ids import uuid7
from app.domain.output import LogPiece, MergedLog

JOB, ONE, OTHER = (uuid7() for _ in range(3))


def test_a_line_tells_whose_the_next_ones_are_wherever_that_changes() -> None:
    written = [
        (JOB, "a\n"),
        (JOB, "b\n"),
        (ONE, "loads\n"),
        (OTHER, "loads"),
        (OTHER, " too\n"),
        (JOB, "c\n"),
    ]
    merged = MergedLog(JOB)
    pages = [LogPiece(owner, number, text) for number, (owner, text) in enumerate(written)]
    assert merged.add(pages[:4]) + merged.add(pages[4:]) == (
        f"a\nb\n==> replica {ONE} <==\nloads\n==> replica {OTHER} <==\nloads too\n==> job {JOB} <==\nc\n"
    )


def test_the_line_begins_anew_after_one_that_was_cut() -> None:
    merged = MergedLog(JOB)
    assert merged.add([LogPiece(JOB, 1, "cut")]) == "cut"
    assert merged.add([LogPiece(ONE, 1, "x\n")]) == f"\n==> replica {ONE} <==\nx\n"
