from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id, problem

SPEC = {"model": "hf", "model_args": {"pretrained": "gpt2"}, "tasks": ["gsm8k"]}


def test_a_file_becomes_a_job_and_its_id_is_printed(evalq: Evalq, api: FakeApi, tmp_path: Path) -> None:
    api.answers["POST /v1/jobs"] = (202, job(1, "queued"))
    (tmp_path / "job.json").write_text(json.dumps(SPEC))
    answer = evalq("submit", str(tmp_path / "job.json"))
    assert answer.stdout == f"{job_id(1)}\n"
    assert f"evalq watch {job_id(1)}" in answer.stderr
    assert api.seen[0].body == SPEC


def test_a_job_is_read_from_stdin(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (202, job(1, "queued"))
    assert evalq("submit", "-", "-q", stdin=json.dumps(SPEC)).stdout.strip() == job_id(1)
    assert api.seen[0].body == SPEC


def test_a_pasted_command_is_sent_as_it_was_typed(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (202, job(1, "queued"))
    words = ["lm_eval", "run", "--model", "hf", "--tasks", "gsm8k", "--gen_kwargs", "until=Bob's"]
    assert evalq("submit", "-q", "--", *words).stdout.strip() == job_id(1)
    assert api.seen[0].body == {"command": shlex.join(words)}


def test_a_file_that_is_not_there_is_wrong_usage(evalq: Evalq, api: FakeApi) -> None:
    answer = evalq("submit", "nowhere.json")
    assert answer.exit_code == 2
    assert "nowhere.json cannot be read" in answer.stderr


def test_every_fault_of_a_job_has_a_line(evalq: Evalq, api: FakeApi) -> None:
    faults: list[dict[str, Any]] = [
        {"path": "tasks.0", "message": "there is no task gsm8kk", "allowed": ["gsm8k", "gsm8k_cot"]},
        {"path": "limit", "message": "should be positive", "allowed": None},
    ]
    api.answers["POST /v1/jobs"] = (422, problem(422, "The job could never run", "long", faults))
    answer = evalq("submit", "-", stdin=json.dumps(SPEC))
    assert answer.exit_code == 2
    assert answer.stderr.splitlines() == [
        "evalq: The job could never run",
        "  tasks.0: there is no task gsm8kk (allowed: gsm8k, gsm8k_cot)",
        "  limit: should be positive",
    ]


def test_what_is_not_json_is_wrong_usage(evalq: Evalq, api: FakeApi) -> None:
    assert evalq("submit", "-", stdin="{").exit_code == 2
    assert evalq("submit", "-", stdin="[]").exit_code == 2
    assert api.seen == []


def test_a_dry_run_of_an_impossible_job_is_wrong_usage(evalq: Evalq, api: FakeApi) -> None:
    errors = [{"path": "model", "message": "is unknown", "allowed": ["hf"]}]
    api.answers["POST /v1/jobs"] = (200, {"valid": False, "plan": None, "errors": errors})
    answer = evalq("submit", "-", "--dry-run", stdin=json.dumps(SPEC))
    assert answer.exit_code == 2
    assert "model: is unknown (allowed: hf)" in answer.stderr


def test_an_idempotency_key_travels_as_its_header(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (200, job(1))
    evalq("submit", "-", "--idempotency-key", "nightly-1", stdin=json.dumps(SPEC))
    assert api.seen[0].headers["Idempotency-Key"] == "nightly-1"


def test_submit_and_wait_ends_with_the_jobs_code(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (202, job(1, "queued"))
    api.jobs = [job(1, "failed", error={"code": "dataset_error", "message": "no such file"})]
    answer = evalq("submit", "-", "--wait", stdin=json.dumps(SPEC))
    assert answer.exit_code == 100
    assert answer.stdout == f"{job_id(1)}\n"
    assert "dataset_error: no such file" in answer.stderr


def test_submit_and_watch_says_what_happens(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (202, job(1, "queued"))
    api.states.extend([job(1, "running"), job(1), job(1)])
    api.streams.append([(1, "job.succeeded")])
    answer = evalq("submit", "-", "--watch", stdin=json.dumps(SPEC))
    assert answer.exit_code == 0
    assert "evaluating  22 %  22/100 requests  61.2/s  1:11 left" in answer.stderr
