"""Who gives way to whom, and which devices are kept for whom: nobody is starved, and nobody thrown out early."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.ids import uuid7
from app.domain.placement import Claim, Demand, Policy, place
from app.domain.replica import Replica, ReplicaStatus
from tests.domain.test_placement import NOW, demand, engine, group, releases, replica, starts

HOLD = Policy().hold.total_seconds()


def at_work(model: str, *devices: str, seconds: float = 3600.0) -> Replica:
    """A replica that was loaded so long ago."""
    loaded = NOW - timedelta(seconds=seconds)
    return replace(replica(engine(model, len(devices)), devices), serving_at=loaded)


def asked(model: str, turn: int = 0, *, team: str = "lab", seconds: float = 1000.0, **more: Any) -> Demand:
    """At 10 tokens a second, with an engine that loads in 2 s."""
    wish = replace(demand(model, **more), turn=turn, load_seconds=2.0, speed=10.0, waiting_cost=10 * seconds)
    return replace(wish, claims=(Claim(uuid7(), team, "ann", wish.priority, turn, wish.waiting_cost),))


def gone(there: list[Replica], *demands: Demand, policy: Policy = Policy(), devices: int = 0) -> list[str]:  # noqa: B008
    """The models whose replicas are released, where every device is held."""
    held = sum(len(each.devices) for each in there)
    decisions = place(NOW, [group("a", max(devices, held), held=held)], there, demands, policy)
    names = {each.id: each.engine.model for each in there}
    return [names[each.replica] for each in releases(decisions)]


def test_who_is_ahead_in_line_gets_the_devices_after_a_turn() -> None:
    first, second = asked("new", 1, seconds=10), asked("old", 2)
    assert gone([at_work("old", "a-0", seconds=HOLD + 1)], first, second) == ["old"]
    assert gone([at_work("old", "a-0", seconds=HOLD - 1)], first, second) == []


def test_who_is_behind_in_line_waits() -> None:
    assert gone([at_work("old", "a-0")], asked("old", 1), asked("new", 2)) == []


@pytest.mark.parametrize(("seconds", "turn"), [(30, 8 * 60), (900, 900), (90_000, 32 * 60)])
def test_a_turn_is_as_long_as_several_loads_and_longer_for_who_takes_long(
    seconds: float, turn: float
) -> None:
    slow, new = replace(asked("old", 2), load_seconds=60.0), asked("new", 1, seconds=seconds)
    assert gone([at_work("old", "a-0", seconds=turn - 1)], new, slow) == []
    assert gone([at_work("old", "a-0", seconds=turn + 1)], new, slow) == ["old"]


def test_of_jobs_that_share_an_engine_the_first_says_how_long_they_wait() -> None:
    slow, short, long = (
        replace(asked("old", 3), load_seconds=60.0),
        asked("new", 1, seconds=30),
        asked("new", 2),
    )
    both = replace(short, claims=(*short.claims, *long.claims), waiting_cost=10 * 1030.0)
    assert gone([at_work("old", "a-0", seconds=8 * 60 + 1)], both, slow) == ["old"]


def test_who_has_company_works_for_its_turn_too() -> None:
    slow = replace(asked("two", 1, replicas=2), load_seconds=60.0)
    for seconds, expected in ((8 * 60 - 1, []), (8 * 60 + 1, ["two"])):
        there = [at_work("two", f"a-{place}", seconds=seconds) for place in range(2)]
        assert gone(there, slow, asked("new", 2)) == expected


def test_a_higher_priority_waits_for_the_hold_alone() -> None:
    slow = replace(asked("old", 2), load_seconds=60.0)
    urgent = asked("new", 1, priority=90)
    assert gone([at_work("old", "a-0", seconds=HOLD + 1)], urgent, slow) == ["old"]
    assert gone([at_work("old", "a-0", seconds=HOLD - 1)], urgent, slow) == []


def test_a_lower_priority_gets_nothing_of_a_higher_one() -> None:
    lesser = asked("new", 1, priority=10)
    assert gone([at_work("old", "a-0")], asked("old", 2), lesser) == []
    wide = [at_work("old", "a-0"), at_work("old", "a-1")]
    assert gone(wide, asked("old", 2, replicas=2), lesser) == []


def test_an_engine_that_loads_is_left_to_load() -> None:
    loading = replace(at_work("old", "a-0"), status=ReplicaStatus.LOADING, serving_at=None)
    assert gone([loading], asked("new", 1, priority=90), asked("old", 2)) == []


def test_who_is_nearly_done_ends_first_but_not_for_ever() -> None:
    almost = asked("old", 2, seconds=1.5)
    new = asked("new", 1, seconds=10)
    assert gone([at_work("old", "a-0", seconds=HOLD + 1)], new, almost) == []
    assert gone([at_work("old", "a-0", seconds=2 * HOLD + 1)], new, almost) == ["old"]


def test_of_several_the_last_in_line_gives_way() -> None:
    there = [at_work(name, f"a-{place}") for place, name in enumerate(("b", "d", "c"))]
    assert gone(there, asked("new", 1), asked("b", 2), asked("c", 3), asked("d", 4)) == ["d"]


def test_who_has_company_gives_way_before_who_is_alone() -> None:
    there = [at_work("alone", "a-0"), at_work("two", "a-1"), at_work("two", "a-2")]
    assert gone(there, asked("new", 1), asked("two", 2, replicas=2), asked("alone", 3)) == ["two"]


def test_a_job_that_runs_is_narrowed_for_one_behind_it_but_once() -> None:
    there = [at_work("two", "a-0"), at_work("two", "a-1")]
    line = asked("two", 1, replicas=2), asked("new", 2), asked("newer", 3)
    assert gone(there, *line) == ["two"]


def test_who_leaves_already_is_waited_for_and_nobody_else_goes() -> None:
    leaving = replace(at_work("old", "a-0"), release_requested_at=NOW)
    other = at_work("other", "a-1")
    assert gone([leaving, other], asked("new", 1), asked("other", 2), asked("old", 3)) == []


def test_several_small_ones_go_at_once_for_a_wide_demand() -> None:
    there = [at_work(f"m{place}", f"a-{place}") for place in range(4)]
    line = [asked(f"m{place}", place + 2) for place in range(4)]
    assert sorted(gone(there, asked("wide", 1, gpus=4), *line)) == ["m0", "m1", "m2", "m3"]


def test_of_equal_groups_the_smallest_makes_room() -> None:
    """The larger one stays whole for who needs all of it."""
    groups = [group("a", 4, held=4), group("b", 2, held=2)]
    places = [("a", n) for n in range(4)] + [("b", n) for n in range(2)]
    there = [replace(at_work(f"m{where}{n}", f"{where}-{n}"), group=where) for where, n in places]
    line = [asked(f"m{where}{n}", 2) for where, n in places]
    gone_ = {
        each.replica
        for each in releases(place(NOW, groups, there, [asked("wide", 1, gpus=2), *line], Policy()))
    }
    assert {each.group for each in there if each.id in gone_} == {"b"}


def test_nobody_goes_for_a_wide_demand_before_all_can() -> None:
    there = [at_work(f"m{place}", f"a-{place}") for place in range(3)] + [at_work("m3", "a-3", seconds=1)]
    line = [asked(f"m{place}", place + 2) for place in range(4)]
    assert gone(there, asked("wide", 1, gpus=4), *line) == []


def test_wide_demands_that_no_group_can_serve_use_up_nobodys_reservation() -> None:
    """Those that name a group that is gone wait for it; the next one gets its devices meanwhile."""
    there = [at_work(f"m{place}", f"a-{place}") for place in range(4)]
    line = [asked(f"m{place}", 9) for place in range(4)]
    dead = [replace(asked(f"dead{gpus}", 1, gpus=gpus), group="gone") for gpus in range(2, 9)]
    assert sorted(gone(there, *dead, asked("wide", 2, gpus=4), *line)) == ["m0", "m1", "m2", "m3"]


def test_who_stands_on_reserved_devices_goes_for_nobody_behind_it() -> None:
    there = [at_work("m0", "a-0"), at_work("m1", "a-1", seconds=1)]
    line = [asked("wide", 1, gpus=2), asked("small", 2), asked("m0", 3), asked("m1", 4)]
    assert gone(there, *line) == []
    assert gone(there, *line[1:]) == ["m0"]


@pytest.mark.parametrize(("seconds", "begins"), [(60, True), (97, True), (99, False), (1000, False)])
def test_reserved_devices_are_for_who_is_done_before_they_are_needed(seconds: float, begins: bool) -> None:
    """The one that is at work ends in 100 s, and loading takes 2 s."""
    first, busy = asked("wide", 1, gpus=2), asked("busy", 0, seconds=100.0)
    small = asked("small", 2, seconds=seconds)
    found = place(NOW, [group("a", 2, held=1)], [at_work("busy", "a-0")], [busy, first, small], Policy())
    assert bool(starts(found)) is begins


def test_of_whom_nobody_knows_how_long_he_takes_reserved_devices_are_not_filled() -> None:
    unknown = replace(asked("small", 2), speed=None)
    line = [asked("busy", 0, seconds=100.0), asked("wide", 1, gpus=2), unknown]
    assert not starts(place(NOW, [group("a", 2, held=1)], [at_work("busy", "a-0")], line, Policy()))


def test_devices_wait_for_nobody_who_may_wait_for_ever() -> None:
    endless = replace(asked("busy", 0), speed=None)
    line = [endless, asked("wide", 1, gpus=2), asked("small", 2)]
    found = starts(place(NOW, [group("a", 2, held=1)], [at_work("busy", "a-0")], line, Policy()))
    assert [start.engine.model for start in found] == ["small"]


def test_the_reservation_is_where_devices_come_free_first() -> None:
    """The group whose work ends first keeps its free device; the other one gives it away."""
    groups = [group("a", 2, held=1), group("b", 2, held=1)]
    there = [at_work("late", "a-0"), replace(at_work("soon", "b-0"), group="b")]
    line = [
        asked("late", 0, seconds=900),
        asked("soon", 0, seconds=50),
        asked("wide", 1, gpus=2),
        asked("new", 2),
    ]
    assert [start.group for start in starts(place(NOW, groups, there, line, Policy()))] == ["a"]


def test_an_idle_replica_makes_room_for_more_replicas() -> None:
    idle = replace(replica(engine("idle"), ("a-1",), idle_minutes=1))
    assert gone([at_work("old", "a-0"), idle], asked("old", replicas=None)) == ["idle"]


def test_more_replicas_are_spread_over_those_who_have_fewest() -> None:
    there = [at_work("a", "a-0"), at_work("b", "a-1"), at_work("b", "a-2")]
    line = [asked("b", 1, replicas=None), asked("a", 2, replicas=None)]
    for free, widened in ((1, ["a"]), (2, ["a", "b"])):
        found = starts(place(NOW, [group("a", 3 + free, held=3)], there, line, Policy()))
        assert sorted(start.engine.model for start in found) == widened


def test_while_an_engine_rests_others_have_the_devices_that_it_would_be_widened_to() -> None:
    there = [at_work("old", "a-0"), at_work("new", "a-1")]
    line = [replace(asked("old", 1, replicas=None), resting=True), asked("new", 2, replicas=None)]
    found = starts(place(NOW, [group("a", 4, held=2)], there, line, Policy()))
    assert [start.engine.model for start in found] == ["new", "new"]


QUOTA = Policy(quotas={"lab": 1, "shop": 2})


def test_a_quota_goes_before_priorities() -> None:
    line = [asked("rich", 1, team="none", priority=90), asked("poor", 2, team="lab", priority=10)]
    found = starts(place(NOW, [group("a", 1)], [], line, QUOTA))
    assert [start.engine.model for start in found] == ["poor"]


def test_a_team_takes_its_quota_back_from_who_borrows_it() -> None:
    mine = asked("mine", 9, team="lab", priority=10)
    assert gone([at_work("borrower", "a-0")], asked("borrower", 1, team="none"), mine, policy=QUOTA) == [
        "borrower"
    ]
    fresh = at_work("borrower", "a-0", seconds=HOLD - 1)
    assert gone([fresh], asked("borrower", 1, team="none"), mine, policy=QUOTA) == []


def test_above_its_quota_a_team_borrows_like_others() -> None:
    there = [at_work("mine", "a-0"), at_work("other", "a-1")]
    line = [asked("other", 1, team="none"), asked("mine", 2, team="lab"), asked("more", 3, team="lab")]
    assert gone(there, *line, policy=QUOTA) == []


def test_what_is_a_teams_by_quota_is_taken_by_nobody_who_borrows() -> None:
    line = [asked("rich", 1, team="none", priority=90), asked("mine", 2, team="lab", priority=10)]
    assert gone([at_work("mine", "a-0")], *line, policy=QUOTA) == []


def test_a_quota_may_be_for_several_replicas_of_one_demand() -> None:
    there = [at_work("mine", "a-0"), at_work("borrower", "a-1")]
    line = [asked("borrower", 1, team="none"), asked("mine", 2, team="shop", replicas=None)]
    assert gone(there, *line, policy=QUOTA) == ["borrower"]


def test_a_quota_is_not_used_up_by_what_fits_nowhere() -> None:
    lost = replace(asked("lost", 1, team="lab", priority=10), group="gone")
    line = [lost, asked("rich", 2, team="none", priority=90), asked("poor", 3, team="lab", priority=10)]
    found = starts(place(NOW, [group("a", 1)], [], line, QUOTA))
    assert [start.engine.model for start in found] == ["poor"]


def test_a_quota_is_used_up_only_by_what_fits_together() -> None:
    wide = replace(asked("wide", 1, team="shop", replicas=None), group="a")
    line = [wide, asked("rich", 2, team="none", priority=90), asked("poor", 3, team="shop", priority=10)]
    found = starts(place(NOW, [group("a", 1), group("b", 1)], [], line, QUOTA))
    assert {start.engine.model for start in found} == {"wide", "poor"}


def test_an_idle_quota_is_lent() -> None:
    found = starts(place(NOW, [group("a", 1)], [], [asked("guest", team="none")], QUOTA))
    assert [start.engine.model for start in found] == ["guest"]


def test_quotas_for_more_devices_than_there_are_go_by_the_line() -> None:
    both = Policy(quotas={"lab": 1, "shop": 1})
    line = [asked("first", 1, team="lab"), asked("second", 2, team="shop")]
    assert gone([at_work("second", "a-0")], *line, policy=both) == ["second"]
    assert gone([at_work("first", "a-0")], *line, policy=both) == []
