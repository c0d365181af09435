"""What a timeline draws, without a server: where bars stand, what they are called, and what is hidden from whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.dashboard.views.devices import what_it_does
from app.dashboard.views.lanes import Lane, Seen, lanes
from app.dashboard.views.timeline import LaneBar, LaneSpan
from app.domain.engine_spec import EngineSpec
from app.domain.estimates import Estimates
from app.domain.failure import Failure, FailureCode
from app.domain.forecast import Forecast
from app.domain.group import DeviceView, GroupView
from app.domain.job import Job, JobStatus, Phase
from app.domain.memory import GIB
from app.domain.occupancy import Occupant, Occupied
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from app.domain.waits import Cause, Wait
from app.services.groups import GroupState
from app.services.queue import Waiting
from tests.jobs import submission

NOW = datetime(2026, 11, 27, 14, 32, tzinfo=UTC)
ENGINE = EngineSpec("vllm", "meta/llama-70b", tensor_parallel_size=2, gpus=2)
MINE, THEIRS = UUID(int=1), UUID(int=2)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def device(index: int, **changed: object) -> DeviceView:
    told = {"id": f"G{index}", "index": index, "name": "H100", "state": DeviceState.FREE}
    return DeviceView(**{**told, "reason": None, "replica_id": None, **changed})  # type: ignore[arg-type]


def group(devices: Sequence[DeviceView], **changed: object) -> GroupState:
    found = GroupView("a", "node1", "gpu", ("vllm",), "0", NOW, NOW, None, tuple(devices))
    return GroupState(replace(found, **changed), [])  # type: ignore[arg-type]


def replica(number: int, devices: tuple[str, ...], begin: float, **changed: object) -> Replica:
    found = Replica(UUID(int=number), "a", ENGINE, ReplicaStatus.SERVING, devices, at(begin))
    return replace(found, serving_at=at(begin + 6), **changed)  # type: ignore[arg-type]


def occupant(job: UUID = MINE, team: str = "red", /, **changed: object) -> Occupant:
    found = Occupant(
        *(job, "nightly", team, "meta/llama-70b", ENGINE.key, None, JobStatus.RUNNING, Phase.EVALUATING),
        *(62, 100, at(-60), None),
    )
    return replace(found, **changed)  # type: ignore[arg-type]


def lane(
    *occupied: Occupied,
    waiting: Sequence[Waiting] = (),
    told: dict[UUID, Forecast] | None = None,
    sees: str | None = "red",
    state: GroupState | None = None,
) -> Lane:
    seen = Seen(occupied, waiting, Estimates(NOW, told or {}), sees, timedelta(minutes=10))
    found = state or group([device(index) for index in range(4)])
    return lanes([found], seen, LaneSpan.around(NOW), lambda _: True)[0]


def bar(found: Lane) -> LaneBar:
    (only,) = found.bars
    return only


def test_the_window_is_around_now_and_moves_in_steps() -> None:
    span = LaneSpan.around(NOW + timedelta(seconds=29))
    assert (span.now, span.x(NOW), span.x(at(-999)), span.x(at(999))) == (NOW, 50.0, 0.0, 100.0)
    assert [text for _, text, _ in span.ticks] == ["12:00", "13:00", "14:00", "15:00", "16:00", "17:00"]
    assert [near for _, _, near in span.ticks] == [False, False, False, True, False, False]
    shortly = LaneSpan.around(NOW + timedelta(minutes=10))
    assert [text for _, text, _ in shortly.ticks][2:5] == ["14:00", "", "16:00"], "the word now stands there"


def test_replicas_of_a_job_beside_each_other_are_one_bar_with_a_seam() -> None:
    told = {MINE: Forecast(None, 0.0, None, 1200.0, 1500.0, 1800.0)}
    two = [Occupied(replica(n, (f"G{2 * n}", f"G{2 * n + 1}"), -60), (occupant(),)) for n in (0, 1)]
    drawn = bar(lane(*two, told=told))
    assert (drawn.kind, drawn.row, drawn.rows, drawn.seams, drawn.gpus) == ("running", 0, 4, (2,), "0\u20133")
    assert (drawn.text, drawn.sub) == ("nightly \u00b7 62.0 %", "vllm TP 2 \u00b7 20\u201330 min left")
    assert drawn.x == pytest.approx(100 * 120 / 360, abs=0.01)
    assert drawn.width == pytest.approx(100 * 85 / 360, abs=0.01)
    assert (drawn.load, drawn.done) == pytest.approx((100 * 6 / 85, 100 * 54 / 85), abs=0.01)
    assert drawn.whisker == pytest.approx((50 + 100 * 20 / 360, 50 + 100 * 30 / 360), abs=0.01)
    assert drawn.href == f"/jobs/{MINE}"
    assert drawn.until == "14:52\u201315:02"


def test_devices_that_do_not_stand_together_are_bars_of_their_own() -> None:
    found = lane(Occupied(replica(1, ("G0", "G2"), -60), (occupant(),)))
    assert [(each.row, each.rows) for each in found.bars] == [(0, 1), (2, 1)]


@pytest.mark.parametrize(
    ("change", "job", "kind", "text"),
    [
        ({"status": ReplicaStatus.RELEASED}, {"status": JobStatus.SUCCEEDED}, "past", "nightly"),
        ({"status": ReplicaStatus.RELEASED}, {"status": JobStatus.CANCELLED}, "cancelled", "nightly"),
        ({"status": ReplicaStatus.LOST}, {}, "failed", "nightly: lost"),
        ({"status": ReplicaStatus.RELEASED}, {"name": None}, "past", "llama-70b"),
    ],
    ids=["succeeded", "cancelled", "lost", "no name"],
)
def test_what_is_over_is_told_by_how_it_ended(
    change: dict[str, object], job: dict[str, object], kind: str, text: str
) -> None:
    lost = Failure(FailureCode.LOST, "gone") if change["status"] is ReplicaStatus.LOST else None
    gone = replica(1, ("G0", "G1"), -60, ended_at=at(-30), error=lost, **change)
    drawn = bar(lane(Occupied(gone, (occupant(MINE, "red", **job),))))
    assert (drawn.kind, drawn.text) == (kind, text)
    assert drawn.width == pytest.approx(100 * 30 / 360, abs=0.01)


def test_an_idle_engine_is_past_and_then_warm_until_it_ends() -> None:
    idle = replica(1, ("G0", "G1"), -60, idle_since=at(-4))
    past, warm = lane(Occupied(idle, (occupant(ended_at=at(-4)),))).bars
    assert (past.kind, warm.kind, warm.text) == ("past", "warm", "llama-70b stays loaded")
    assert warm.end == at(6)


def wait(job_id: UUID = MINE, cause: Cause = Cause.DEVICES, start: float | None = 3600.0) -> Waiting:
    checked = submission(name="ablation")
    job = Job(job_id, "amira", "ablation", checked.spec.to_json(), ENGINE, checked.plan, NOW, team="red")
    told = Forecast(start, start, start, 5400.0, 5400.0, 6000.0, ("G2", "G3"))
    return Waiting(job, 1, Wait(cause, "2 free devices"), None, told)


def test_what_waits_stands_where_it_is_foreseen_to_run() -> None:
    drawn = bar(lane(waiting=[wait()]))
    assert (drawn.kind, drawn.row, drawn.rows) == ("waiting", 2, 2)
    assert drawn.x == pytest.approx(50 + 100 * 60 / 360, abs=0.01)
    for hidden in (
        wait(start=None),
        wait(start=4 * 3600.0),
        wait(cause=Cause.TURN),
        wait(cause=Cause.LOADING),
    ):
        assert not lane(waiting=[hidden]).bars


def test_jobs_of_other_teams_have_neither_name_nor_link() -> None:
    running = Occupied(replica(1, ("G0", "G1"), -60), (occupant(THEIRS, "blue"),))
    failed = replica(
        2,
        ("G2", "G3"),
        -60,
        status=ReplicaStatus.FAILED,
        ended_at=NOW,
        error=Failure(FailureCode.INTERNAL, "x"),
    )
    over = Occupied(failed, (occupant(THEIRS, "blue", status=JobStatus.FAILED),))
    ends = {THEIRS: Forecast(None, 0.0, None, 1200.0, 1500.0, 1800.0)}
    found = lane(running, over, waiting=[wait()], told=ends, sees="green")
    told = " ".join(f"{each.label} {each.sub} {each.href}" for each in found.bars)
    assert [each.kind for each in found.bars] == ["running", "past", "waiting"], "nor how it ended"
    assert (found.bars[0].text, found.bars[0].whisker) == ("a job of another team", None), "nor how far it is"
    for secret in ("nightly", "llama", "ablation", "vllm", "internal", str(MINE), str(THEIRS)):
        assert secret not in told


def test_what_a_device_does_is_told_of_those_that_nobody_holds_too() -> None:
    used = {"memory_bytes": 80 * GIB, "memory_used_bytes": 18 * GIB}
    assert what_it_does(device(0), None) == "free"
    assert what_it_does(device(0, **used), None) == "held by another program"
    assert what_it_does(device(0, state=DeviceState.DRAINED, **used), None) == "held by another program"
    assert what_it_does(device(0, state=DeviceState.DIRTY, **used), None) == "cleaning up"
    assert what_it_does(device(0, state=DeviceState.DRAINED, faulty=True, **used), None) == "out of service"
    assert what_it_does(device(0, state=DeviceState.HELD), replica(1, ("G0",), -60, idle_since=NOW)) == "warm"


def test_a_drained_device_is_drawn_from_now_on_with_its_reason() -> None:
    state = group([device(0), device(1, state=DeviceState.DRAINED, reason="2 ECC errors", faulty=True)])
    drained = replace(state.group, drain_requested_at=at(-27), drained_by="dana", drain_reason="driver")
    found = lane(state=replace(state, group=drained))
    assert (bar(found).kind, bar(found).row, bar(found).text) == ("foreign", 1, "2 ECC errors")
    assert found.draining == "since 14:05 by dana: driver"
    assert found.words == "1 free, 1 out of service"


def test_an_engine_that_loads_for_a_job_in_line_is_drawn_as_that() -> None:
    early = replica(7, ("G0",), -2, early_for=MINE, idle_since=at(-1))
    assert bar(lane(Occupied(early, ()))).text == "loaded early for a job in line"
    loads = replace(early, status=ReplicaStatus.LOADING, idle_since=None)
    assert bar(lane(Occupied(loads, ()))).text == "loading early for a job in line"
    assert (
        bar(lane(Occupied(early, (occupant(phase=Phase.PREPARING, requests_total=None),)))).text == "nightly"
    )
    assert (
        bar(lane(Occupied(early, (occupant(MINE, "blue", requests_total=None),)))).text
        == "a job of another team"
    )
