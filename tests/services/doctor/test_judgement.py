"""What counts as well, as a warning and as a fault."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db.vitals import DeviceVitals, GroupVitals, JobVitals, ServerVitals
from app.domain.job import Phase
from app.domain.replica import DeviceState
from app.errors import DatabaseUnreachableError
from app.services.doctor import Finding, State, look_all
from app.services.doctor.cluster import (
    judge_coordinators,
    judge_devices,
    judge_groups,
    judge_jobs,
    judge_leader,
)
from app.services.doctor.host import judge_backends, judge_processes, judge_room, look_at_folder
from app.services.doctor.over_http import judge_queue, judge_told_groups, look_over_http
from app.services.doctor.servers import judge_broker, judge_queues, judge_server, look_at_api

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LEASE = timedelta(seconds=60)
STALL = timedelta(minutes=30)
NO_TIME = timedelta()
MIB = 1 << 20

SERVER = ServerVitals("18.1", 180001, NOW, 20, 100, 50 * MIB)
GROUP = GroupVitals("a", "node1", "1.0", ("hf",), timedelta(seconds=2), draining=False)
JOB = JobVitals(UUID(int=1), "hf", Phase.EVALUATING, NO_TIME, -LEASE, NO_TIME, None)


def states(findings: Sequence[Finding]) -> dict[str, State]:
    return {finding.check: finding.state for finding in findings}


def worst(findings: Sequence[Finding]) -> State:
    return max((finding.state for finding in findings), key=list(State).index)


def test_a_server_as_it_should_be() -> None:
    assert states(judge_server(SERVER, NOW)) == dict.fromkeys(["database", "clock", "connections"], State.OK)


@pytest.mark.parametrize(("seconds", "state"), [(1, "ok"), (-5, "warning"), (120, "fault")])
def test_clocks_that_differ(seconds: int, state: str) -> None:
    found = states(judge_server(SERVER, NOW + timedelta(seconds=seconds)))
    assert found["clock"] == state


@pytest.mark.parametrize(("used", "state"), [(79, "ok"), (80, "warning"), (95, "fault")])
def test_connections_that_run_out(used: int, state: str) -> None:
    assert states(judge_server(replace(SERVER, connections=used), NOW))["connections"] == state


def test_a_server_too_old() -> None:
    assert states(judge_server(replace(SERVER, version_number=130000), NOW))["database"] == State.WARNING


def test_a_broker_that_may_drop_messages() -> None:
    assert worst(judge_broker({"redis_version": "7.2", "maxmemory_policy": "allkeys-lru"})) == State.WARNING
    [found] = judge_broker({"valkey_version": "9.0", "maxmemory_policy": "noeviction"})
    assert (found.state, found.says) == (State.OK, "Valkey 9.0")


def test_a_queue_that_nobody_reads() -> None:
    assert judge_queues({"coordinator": 3}).state is State.OK
    found = judge_queues({"coordinator": 3, "group.a": 5000})
    assert found.state is State.WARNING
    assert "group.a" in found.advice


def test_a_queue_is_told_with_what_holds_it_up() -> None:
    waiting = [{"waiting_for": "2 free devices in one group"}]
    told = judge_queue({"data": waiting, "total": 300, "troubles": []})
    assert (told.state, told.says) == (
        State.OK,
        "300 jobs wait, the first for 2 free devices in one group",
    )
    held_up = judge_queue({"data": waiting, "total": 1, "troubles": ["no scheduler leads"]})
    assert (held_up.state, held_up.advice) == (State.FAULT, "no scheduler leads")
    assert judge_queue({"data": []}).state is State.OK


def test_no_leader_is_a_fault() -> None:
    assert judge_leader(leads=True).state is State.OK
    assert judge_leader(leads=False).state is State.FAULT


@pytest.mark.parametrize(
    ("group", "state"),
    [
        (GROUP, "ok"),
        (replace(GROUP, version="0.9"), "warning"),
        (replace(GROUP, draining=True), "warning"),
        (replace(GROUP, backends=()), "fault"),
        (replace(GROUP, unusable={"vllm": "its torch finds no GPU"}), "warning"),
        (replace(GROUP, backends=(), unusable={"vllm": "its torch finds no GPU"}), "fault"),
    ],
)
def test_groups_whose_worker_runs(group: GroupVitals, state: str) -> None:
    assert states(judge_groups([group], LEASE, "1.0")) == {"group a": state}


def test_a_silent_worker_is_a_warning_and_no_worker_at_all_a_fault() -> None:
    silent = replace(GROUP, name="b", silent=timedelta(hours=1))
    assert states(judge_groups([GROUP, silent], LEASE, "1.0")) == {
        "group a": State.OK,
        "group b": State.WARNING,
    }
    assert worst(judge_groups([silent], LEASE, "1.0")) is State.FAULT
    assert worst(judge_groups([], LEASE, "1.0")) is State.FAULT


def test_jobs_that_no_coordinator_takes() -> None:
    waiting = replace(JOB, waited=timedelta(minutes=2), phase=None, overdue=None)
    assert judge_coordinators([], [JOB]).state is State.OK
    assert judge_coordinators([replace(waiting, waited=NO_TIME)], []).state is State.OK
    assert judge_coordinators([waiting], [JOB]).state is State.WARNING
    assert judge_coordinators([waiting], []).state is State.FAULT


def test_devices_that_cannot_be_given_out_come_with_their_reason() -> None:
    drained = DeviceVitals("GPU-1", "a", DeviceState.DRAINED, "memory in use")
    [found] = judge_devices([drained])
    assert (found.check, found.state, found.says) == ("device GPU-1", State.WARNING, "drained: memory in use")
    assert worst(judge_devices([])) is State.OK


def test_a_device_in_use_is_warned_of_in_its_own_words() -> None:
    hot = DeviceVitals("GPU-1", "a", DeviceState.HELD, None, warnings=("slowed down by heat",))
    [found] = judge_devices([hot])
    assert (found.state, found.says) == (State.WARNING, "slowed down by heat")


def test_a_broken_device_waits_for_an_operator() -> None:
    broken = DeviceVitals("GPU-1", "a", DeviceState.DRAINED, "uncorrectable ECC error", faulty=True)
    [found] = judge_devices([broken])
    assert found.advice == "mend it, then `POST /v1/groups/a/resume` gives it out again"


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (JOB, "ok"),
        (replace(JOB, overdue=timedelta(minutes=2)), "fault"),
        (replace(JOB, ignored=timedelta(minutes=2)), "fault"),
        (replace(JOB, quiet=timedelta(hours=1)), "warning"),
        (replace(JOB, phase=Phase.WAITING_FOR_GPU, quiet=timedelta(hours=1)), "ok"),
        (replace(JOB, phase=Phase.WAITING_FOR_GPU, backend="vllm"), "warning"),
    ],
)
def test_jobs_that_do_not_move(job: JobVitals, state: str) -> None:
    assert worst(judge_jobs([job], [GROUP], LEASE, STALL)) == state


def test_a_backend_that_does_not_work_is_not_to_be_installed_again() -> None:
    broken = replace(GROUP, unusable={"vllm": "finds no GPU"})
    waiting = replace(JOB, phase=Phase.WAITING_FOR_GPU, backend="vllm")
    [found] = judge_jobs([waiting], [broken], LEASE, STALL)
    assert (found.says, found.advice) == (
        "its backend vllm does not work on group a",
        "mend it there: finds no GPU",
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [('{"title": "Not ready", "detail": "broker: refused"}', "broker: refused"), ("<html>", "<html>")],
)
def test_an_api_that_is_not_ready_says_why_in_words(body: str, told: str) -> None:
    class Unready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Unready) as server:
        threading.Thread(target=server.handle_request).start()
        [finding] = look_at_api(f"http://127.0.0.1:{server.server_port}")
    assert (finding.state, finding.says.partition(" is not ready: ")[2]) == (State.FAULT, told)


ALIVE = {
    "name": "a",
    "host": "node1",
    "version": "1.0",
    "backends": ["hf"],
    "alive": True,
    "draining": False,
    "heartbeat_at": "2026-11-22T00:00:00+00:00",
    "devices": [{"id": "GPU-1", "state": "held", "reason": None}],
}
DRAINED = {"id": "GPU-2", "state": "drained", "reason": "uncorrectable ECC error"}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([ALIVE], {"group a": "ok", "devices": "ok"}),
        ([ALIVE | {"alive": False}], {"group a": "warning", "gpu workers": "fault", "devices": "ok"}),
        ([ALIVE | {"unusable_backends": {"vllm": "no GPU"}}], {"group a": "warning", "devices": "ok"}),
        ([ALIVE | {"version": "0.9"}], {"group a": "warning", "devices": "ok"}),
        ([ALIVE | {"devices": [DRAINED]}], {"group a": "ok", "device GPU-2": "warning"}),
        ([], {"gpu workers": "fault", "devices": "ok"}),
    ],
)
def test_groups_are_judged_by_what_the_api_tells(groups: list[Any], expected: dict[str, State]) -> None:
    assert states(judge_told_groups(groups, "1.0")) == expected


def test_from_afar_an_api_that_does_not_answer_is_a_fault() -> None:
    assert states(look_over_http("http://127.0.0.1:1", None, "1.0")) == {"api": State.FAULT}
    assert states(look_over_http("not an address", None, "1.0")) == {"api": State.FAULT}


def test_disks_and_backends(tmp_path: Path) -> None:
    assert [judge_room("x", "/", free * MIB).state for free in (4000, 1000, 10)] == ["ok", "warning", "fault"]
    assert look_at_folder("x", tmp_path / "not" / "yet").check == "x"
    assert judge_backends(["hf", "echo"]).says == "hf on this host"
    assert judge_backends(["echo"]).state is State.WARNING


def test_a_process_that_has_outlived_its_replica_is_a_fault() -> None:
    assert worst(judge_processes({})) is State.OK
    assert states(judge_processes({42: uuid4()})) == {"process 42": State.FAULT}


def test_a_look_that_hangs_or_fails_is_a_fault_and_hides_no_other() -> None:
    release = threading.Event()

    def hang() -> list[Finding]:
        release.wait(60)
        return []

    def refuse() -> list[Finding]:
        raise DatabaseUnreachableError("no database")

    def crash() -> list[Finding]:
        raise ZeroDivisionError("by zero")

    fine = Finding("fine", State.OK, "fine")
    found = look_all({"a": hang, "b": refuse, "c": crash, "d": lambda: [fine]}, seconds=0.3)
    release.set()
    assert states(found) == {"a": "fault", "b": "fault", "c": "fault", "fine": "ok"}
    assert [item.says for item in found][:2] == ["no answer within 0.3 s", "no database"]
