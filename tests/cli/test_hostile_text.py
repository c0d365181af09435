"""Whatever a job, a task or an engine writes: no verb lets it drive the terminal or pass for a line of its own."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from app.cli import live
from app.cli.main import VERBS
from app.domain.quality import TaskQuality
from tests.cli.conftest import Evalq
from tests.cli.fake_api import ME, FakeApi, job, job_id, problem
from tests.cli.test_catalogue import GROUP, TASK, WAITING
from tests.domain.test_visible import HOSTILE, drives_nothing

OURS = {"id", "status", "phase", "created_at", "started_at", "ended_at", "heartbeat_at", "idle_since"}
FORGED = "FORGED"
SPEC = json.dumps({"model": "hf", "tasks": ["toy"]})


def poisoned(value: Any) -> Any:
    """The document with such text in every name and value that is not the service's own."""
    match value:
        case dict():
            return {name: item if name in OURS else poisoned(item) for name, item in value.items()}
        case list():
            return [poisoned(item) for item in value]
        case str():
            return f"{value}{HOSTILE}\n{FORGED}"
        case _:
            return value


ERROR = {
    "code": "task_error",
    "message": "it failed",
    "hint": "look",
    "log_tail": ["a line"],
    "attempts": [{"at": "", "change": "batch", "outcome": "worse"}],
}
METRIC = poisoned("acc") + ",none"
LISTED = {"name": "toy", "status": "failed", "done": 1, "total": 2, "metrics": {METRIC: 0.5}, "error": ERROR}
QUALITY = TaskQuality(9, 0, 9, 0, 1, 9, 1, 1, 16, {poisoned("strict"): 1}).to_json()
LISTED["quality"] = QUALITY
REPLICA = {"id": "r1", "group": "node", "devices": ["cpu-0"], "status": "failed", "requests_done": 1}
DOCUMENT = {
    "results": {poisoned("toy"): {"alias": poisoned("toy"), METRIC: 0.5}},
    "warnings": [poisoned("a warning")],
    "evalq": {"quality": {poisoned("toy"): QUALITY}},
    "versions": {poisoned("toy"): poisoned("1")},
}
PLANNED = {
    "backend": "hf",
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "gpus_per_replica": 1,
    "replicas": "auto",
    "group": "node",
    "memory_per_gpu_gib": 1.5,
    "fit": "no",
    "memory": {"rule_gb": 1.2, "source": "a file"},
    "ways_out": [{"change": {"group": "other"}, "fits": True, "note": "larger"}],
    "command": "lm_eval",
    "explanation": ["one CPU slot"],
}
USED = poisoned({"team": "lab", "owner": "ann"}) | {"device_seconds": 3600.0}
PLAN = {
    "valid": True,
    "errors": [],
    "plan": poisoned(PLANNED) | {"replicas": "auto"},
    "tasks": [poisoned("toy")],
    "notes": [poisoned("a note")],
}


@pytest.fixture
def service(api: FakeApi) -> FakeApi:
    """A service with one such job, and nothing but such text."""
    failed = poisoned(job(1, "failed", reason="ended", error=ERROR, tasks=[LISTED], replicas=[REPLICA]))
    api.jobs = [failed]
    api.streams.append([(1, "job.failed")])
    here = f"/v1/jobs/{job_id(1)}"
    api.answers = {
        f"GET {here}/results": (200, DOCUMENT),
        f"GET {here}/samples": (200, {"data": [poisoned({"doc": {"q": "why"}})], "next_cursor": None}),
        f"GET {here}/artifacts.zip": (200, b"PK"),
        f"GET {here}/logs": (200, poisoned("a line")),
        "GET /v1/tasks": (200, {"data": [poisoned(TASK)], "next_cursor": None}),
        "GET /v1/groups": (200, {"data": [poisoned(GROUP)]}),
        "GET /v1/queue": (200, {"data": [poisoned(WAITING)]}),
        "GET /v1/usage": (
            200,
            {"by": ["team", "owner"], "data": [USED], "left_out": 0, "device_seconds": 3600.0},
        ),
        "POST /v1/jobs": (202, failed),
    }
    api.answers |= {f"POST {here}/{verb}": (200, failed) for verb in ("cancel", "pause", "resume", "retry")}
    api.answers |= {f"PATCH {here}": (200, failed), f"DELETE {here}": (204, None)}
    api.answers |= {f"POST /v1/groups/a/{verb}": (200, poisoned(GROUP)) for verb in ("drain", "resume")}
    api.answers["GET /v1/me"] = (200, poisoned(ME))
    return api


CALLS = (
    *(("jobs",), ("show", "@last"), ("watch", "@last"), ("wait", "@last", "--fail-under", "toy=1")),
    *(("results", "@last", "-o", shape) for shape in ("table", "md", "csv", "json")),
    *(("samples", "@last"), ("logs", "@last"), ("logs", "-f", "@last")),
    *((verb, job_id(1)) for verb in ("cancel", "pause", "resume", "retry")),
    *(("tasks",), ("groups",), ("queue",), ("submit", "-"), ("submit", "-", "--watch")),
    *(("usage",), ("usage", "--csv"), ("drain", "a"), ("undrain", "a"), ("whoami",), ("login",)),
    *(("set", job_id(1), "--priority", "7"), ("delete", job_id(1)), ("open", job_id(1))),
    *(("download", job_id(1), "-o", "-"),),
)
WITHOUT_A_JOBS_TEXT = {
    "up",
    "demo",
    "backends",
    "doctor",
    "prune",
    "keys",
    "logout",
    "api",
    "scheduler",
    "worker",
    "migrate",
    "plan",  # as `submit --dry-run` below
}
"""They print through the same function, as every verb must: ruff refuses `click.echo` anywhere else."""


def test_every_verb_that_shows_a_jobs_text_is_tried() -> None:
    assert {call[0] for call in CALLS} == VERBS.keys() - WITHOUT_A_JOBS_TEXT


@pytest.mark.parametrize("shape", ["people", "--json", "-q"])
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_no_verb_prints_a_control_character(
    evalq: Evalq, service: FakeApi, call: tuple[str, ...], shape: str
) -> None:
    stdin = "key" if call == ("login",) else SPEC
    answer = evalq(*call, *([] if shape == "people" else [shape]), stdin=stdin)
    assert drives_nothing(answer.output)
    assert answer.output
    assert answer.exit_code in {0, 100}, answer.output
    lines_of_others = call[0] == "logs" or "csv" in call[-1]
    assert lines_of_others or not any(line.startswith(FORGED) for line in answer.output.splitlines())


def test_json_is_the_same_document(evalq: Evalq, service: FakeApi) -> None:
    assert json.loads(evalq("show", "@last", "--json").stdout) == service.jobs[0]


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_a_refusal_prints_none_either(evalq: Evalq, service: FakeApi, arguments: tuple[str, ...]) -> None:
    faults = poisoned([{"path": "model_args.x", "message": "is wrong", "allowed": ["y"]}])
    for title, listed in (("Invalid", faults), ("Invalid", [])):
        service.answers["POST /v1/jobs"] = (422, problem(422, title, poisoned("detail"), listed))
        answer = evalq("submit", "-", *arguments, stdin=SPEC)
        assert drives_nothing(answer.output)
        assert not any(line.startswith(FORGED) for line in answer.output.splitlines())


@pytest.mark.parametrize("words", [("submit", "-", "--dry-run"), ("plan", "-")])
def test_a_dry_run_prints_none_either(evalq: Evalq, service: FakeApi, words: tuple[str, ...]) -> None:
    service.answers["POST /v1/jobs"] = (200, PLAN)
    answer = evalq(*words, stdin=SPEC)
    assert (answer.exit_code, drives_nothing(answer.output)) == (0, True)
    assert not any(line.startswith(FORGED) for line in answer.output.splitlines())


def test_the_bar_takes_no_text_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    terminal = Console(file=screen, width=200)
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal)
    metrics = {f"acc[/]{HOSTILE},none": 0.5}
    with live.Bar() as bar:
        bar.show(job(1, "running", tasks=[LISTED | {"name": f"[red]toy{HOSTILE}", "metrics": metrics}]))
    assert drives_nothing(screen.getvalue())
    assert "[red]toy" in screen.getvalue()
    assert "acc[/]" in screen.getvalue()
