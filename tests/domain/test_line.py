"""Who is served next, on invented jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.domain.line import MOST_SECONDS, TYPICAL_SECONDS, Account, InLine, Sharing, in_line

START = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = count(1)


def job(
    owner: str, came: float = 0, *, team: str = "t", priority: int = 0, seconds: float | None = None
) -> InLine:
    since = START + timedelta(seconds=came)
    return InLine(UUID(int=next(NUMBERS)), team, owner, priority, since, seconds)


def owners(*jobs: InLine, used: Mapping[Account, float] | None = None, **weights: float) -> str:
    return "".join(job.owner for job in in_line(jobs, used or {}, Sharing(weights=weights)))


def test_priority_is_above_every_share() -> None:
    assert owners(job("a"), job("b", 1, priority=1), used={("t", "b"): 1e9}) == "ba"


def test_one_owner_alone_is_served_as_they_came() -> None:
    jobs = [job("a", came) for came in (3, 1, 2)]
    assert in_line(jobs, {}, Sharing()) == [jobs[1], jobs[2], jobs[0]]


def test_a_flood_of_one_owner_holds_up_nobody_else() -> None:
    flood = [job("a", came) for came in range(50)]
    assert owners(*flood, job("b", 60), job("b", 61)).startswith("abab")


def test_who_has_used_less_of_late_goes_first() -> None:
    jobs = [job("a"), job("b", 1), job("a", 2), job("b", 3)]
    assert owners(*jobs, used={("t", "a"): 90}) == "bbaa"
    assert owners(*jobs, used={("t", "a"): 90, ("t", "b"): 90}) == "abab"


def test_teams_share_first_and_their_owners_then() -> None:
    many = [job(owner, came, team="many") for came, owner in enumerate("abc")]
    lone = [job("z", 10 + came, team="lone") for came in range(3)]
    assert owners(*many, *lone) == "azbzcz"


def test_a_team_of_twice_the_weight_gets_twice_as_much() -> None:
    jobs = [job(owner, team=owner) for owner in "aaaabb"]
    assert sorted(owners(*jobs, a=2.0)[:3]) == ["a", "a", "b"]


def test_many_short_jobs_are_not_free() -> None:
    """Else whoever says that each of his jobs takes no time at all would have every turn."""
    flood = [job("a", came, seconds=0) for came in range(50)]
    jobs = [*flood, job("b", 60, seconds=30), job("b", 61, seconds=30)]
    assert owners(*jobs).startswith("abaaaab")
    free = in_line(jobs, {}, Sharing(entry=timedelta(0)))
    assert {each.owner for each in free[:50]} == {"a"}


def test_what_is_short_goes_first_until_the_long_one_has_waited() -> None:
    long, short = job("a", 0, seconds=600), job("a", 100, seconds=5)
    assert in_line([long, short], {}, Sharing()) == [short, long]
    late = job("a", 700, seconds=5)
    assert in_line([long, late], {}, Sharing()) == [long, late]
    assert job("a", seconds=1e300).expected == MOST_SECONDS, "no time is after all times"
    unknown = job("a", 0)
    assert unknown.expected == TYPICAL_SECONDS


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(-2, 2), st.floats(0, 1e6)),
        max_size=40,
    ),
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), st.floats(0, 1e9)),
)
def test_everybody_is_in_line_once(
    told: list[tuple[str, str, int, float]], used: dict[Account, float]
) -> None:
    jobs = [job(owner, i, team=team, priority=p, seconds=s) for i, (team, owner, p, s) in enumerate(told)]
    line = in_line(jobs, used, Sharing(weights={"a": 3.0}))
    assert sorted(line, key=lambda job: job.id) == jobs
    assert in_line(jobs, used, Sharing(weights={"a": 3.0}), 7) == line[:7]
    assert [job.priority for job in line] == sorted((job.priority for job in jobs), reverse=True)
    for account in {(job.team, job.owner) for job in jobs}:
        mine = [job for job in line if (job.team, job.owner) == account]
        own = [(-job.priority, job.since + timedelta(seconds=job.expected)) for job in mine]
        assert own == sorted(own), "nobody is passed by his own later job for ever"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 8), st.floats(0, 1e4)), max_size=40))
def test_owners_get_as_many_device_seconds_one_as_the_other(told: list[tuple[str, int, float]]) -> None:
    """A job on four devices keeps as much from others as four jobs on one."""
    jobs = [replace(job(owner, seconds=taken), devices=devices) for owner, devices, taken in told]
    entry = Sharing().entry.total_seconds()
    costs = {each.id: devices * taken + entry for each, (_, devices, taken) in zip(jobs, told, strict=True)}
    had, left = dict.fromkeys("ab", 0.0), Counter(each.owner for each in jobs)
    for each in in_line(jobs, {}, Sharing()):
        if all(left[owner] for owner in "ab"):
            assert had[each.owner] == min(had["a"], had["b"])
        had[each.owner] += costs[each.id]
        left[each.owner] -= 1
