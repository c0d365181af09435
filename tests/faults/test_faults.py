"""A short campaign with a fixed seed: a dozen faults of every family under load, then rest, then the checks."""

from __future__ import annotations

from tests.faults.campaign import Plan, run

SHORT = Plan(
    seed=3,
    faults=12,
    lease_seconds=3.0,
    pause_seconds=1.2,
    clients=3,
    deadly=False,
    kinds=(
        *("fail point", "kill a child", "freeze a part", "terminated backends", "kill a part"),
        *("broker restart", "database restart", "doubled messages", "freeze a child", "starved broker"),
        *("database freeze", "kill an engine ahead"),
    ),
)


def test_nothing_is_lost_doubled_or_wrong() -> None:
    report = run(SHORT)
    print("\n".join(report.lines()))  # noqa: T201
    assert report.faults.total() == SHORT.faults
    assert report.statuses.total() > 4
    assert report.violations == []
