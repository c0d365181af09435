from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id, problem


def test_jobs_are_listed_in_full_where_nobody_reads_along(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(2, "running"), job(1)]
    answer = evalq("jobs")
    lines = answer.stdout.splitlines()
    assert lines[0].split() == ["ID", "STATUS", "DONE", "NAME", "TASKS", "AGE", "REASON"]
    assert lines[1].split()[:4] == [job_id(2), "running", "22", "%"]
    assert "\x1b" not in answer.stdout
    assert answer.exit_code == 0


def test_quiet_prints_ids_and_nothing_else(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(2), job(1)]
    answer = evalq("jobs", "-q")
    assert answer.stdout.split() == [job_id(2), job_id(1)]
    assert answer.stderr == ""


def test_json_prints_the_jobs_themselves(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(1)]
    assert json.loads(evalq("jobs", "--json").stdout) == [job(1)]


def test_an_empty_list_has_a_hint_on_stderr(evalq: Evalq) -> None:
    answer = evalq("jobs")
    assert answer.stdout == ""
    assert "evalq submit" in answer.stderr


def test_a_list_goes_over_as_many_pages_as_asked_for(evalq: Evalq, api: FakeApi) -> None:
    api.jobs, api.page_size = [job(number) for number in range(9, 0, -1)], 4
    assert len(evalq("jobs", "-q", "-n", "7").stdout.split()) == 7
    assert [seen.query["limit"] for seen in api.seen] == ["7", "3"]


def test_filters_reach_the_service(evalq: Evalq, api: FakeApi) -> None:
    evalq("jobs", "--status", "failed", "--tag", "nightly", "--created-after", "2026-01-01T00:00:00Z")
    query = api.seen[0].query
    assert (query["status"], query["tag"], query["created_after"]) == (
        "failed",
        "nightly",
        "2026-01-01T00:00:00Z",
    )
    assert "model" not in query


def test_a_job_is_named_by_a_prefix(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(3), job(2), job(1)]
    assert json.loads(evalq("show", job_id(2)[:8], "--json").stdout)["id"] == job_id(2)


def test_a_prefix_of_several_jobs_is_wrong_usage(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(3), job(2)]
    answer = evalq("show", "019aa")
    assert answer.exit_code == 2
    assert job_id(2) in answer.stderr


def test_a_prefix_of_no_job_is_not_found(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(3), job(2)]
    assert evalq("show", "019aa9").exit_code == 102


def test_a_prefix_is_asked_for_once_however_many_jobs_there_are(evalq: Evalq, api: FakeApi) -> None:
    api.jobs, api.page_size = [job(number) for number in range(9, 0, -1)], 2
    assert evalq("show", job_id(1)[:8], "-q").stdout.split() == [job_id(1)]
    assert [seen.query for seen in api.seen if seen.path == "/v1/jobs"] == [
        {"limit": "6", "id": job_id(1)[:8]}
    ]


def test_last_is_the_newest_job_of_whoever_asks(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(3, owner="bob"), job(2), job(1)]
    assert evalq("show", "@last", "-q").stdout.strip() == job_id(2)


def test_last_of_no_jobs_of_ones_own_is_not_found(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(3, owner="bob")]
    answer = evalq("show", "@last")
    assert (answer.exit_code, answer.stderr) == (102, "evalq: alice has no job yet: there is no @last\n")


@pytest.mark.parametrize(
    "text", ["", "@first", "nightly", "../keys", "019aa001-5b6c-7000-8000-000000000001x"]
)
def test_what_can_be_no_id_is_wrong_usage_and_not_looked_for(evalq: Evalq, api: FakeApi, text: str) -> None:
    assert evalq("show", text).exit_code == 2
    assert api.seen == []


def test_a_beginning_of_nearly_all_jobs_names_a_few_and_stops(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(number) for number in range(900, 0, -1)]
    answer = evalq("show", "0")
    assert (answer.exit_code, answer.stderr.count(job_id(900)[:5])) == (2, 5)
    assert "and others" in answer.stderr
    assert len(api.seen) == 1


def test_an_unknown_job_is_not_found(evalq: Evalq) -> None:
    answer = evalq("show", job_id(7))
    assert answer.exit_code == 102
    assert answer.stderr == f"evalq: no job {job_id(7)}\n"


def test_show_says_what_went_wrong_and_what_helps(evalq: Evalq, api: FakeApi) -> None:
    error = {
        "code": "gpu_out_of_memory",
        "message": "CUDA out of memory",
        "hint": "set max_batch_size",
        "log_tail": ["torch.OutOfMemoryError"],
        "attempts": [{"at": "", "change": "batch 8 -> 4", "outcome": "the same"}],
    }
    api.jobs = [job(1, "failed", error=error)]
    shown = evalq("show", job_id(1)).stdout
    assert "gpu_out_of_memory: CUDA out of memory" in shown
    assert "tried batch 8 -> 4: the same" in shown
    assert "| torch.OutOfMemoryError" in shown
    assert "hint: set max_batch_size" in shown


def test_a_refused_token_is_not_allowed(evalq: Evalq, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALQ_TOKEN", "evq_secret")
    api.answers["GET /v1/jobs"] = (401, problem(401, "Unauthorized", "this key is not known"))
    answer = evalq("jobs")
    assert answer.exit_code == 4
    assert api.seen[0].headers["Authorization"] == "Bearer evq_secret"
    assert "evq_secret" not in answer.output


def test_a_service_that_is_not_there_is_named_with_the_way_out(evalq: Evalq) -> None:
    answer = evalq("jobs", "--url", "http://127.0.0.1:1")
    assert answer.exit_code == 1
    assert answer.stderr == (
        "evalq: nothing answers at http://127.0.0.1:1: start it with `evalq up`, or set EVALQ_URL\n"
    )


def test_a_password_in_the_address_is_used_and_not_repeated(evalq: Evalq, api: FakeApi) -> None:
    address = api.url.replace("://", "://me:hunter2@")
    api.answers["GET /v1/jobs"] = (200, "<html>")
    assert "hunter2" not in evalq("jobs", "--url", address).output
    assert api.seen[0].headers["Authorization"].startswith("Basic ")
    assert "hunter2" not in evalq("jobs", "--url", "http://me:hunter2@127.0.0.1:1").output


def test_something_that_is_not_evalq_is_said_so(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/jobs"] = (200, "<html>")
    assert "is it evalq?" in evalq("jobs").stderr


def test_a_way_out_is_shown_as_retry_takes_it(evalq: Evalq, api: FakeApi) -> None:
    way = {"change": {"model_args.max_model_len": 2048}, "fits": True, "note": "3 of the job's 9 are cut"}
    error = {"code": "kv_cache_too_small", "message": "no room", "ways_out": [way]}
    api.jobs = [job(1, "failed", error=error)]
    shown = evalq("show", job_id(1)).stdout
    assert "way out: --set model_args.max_model_len=2048: fits; 3 of the job's 9 are cut" in shown


def test_the_address_of_a_jobs_page_is_printed(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(2), job(1)]
    page = f"{api.url}/jobs/{job_id(2)}"
    assert evalq("open", "@last").stdout == f"{page}\n"
    assert json.loads(evalq("open", "@last", "--json").stdout) == {"id": job_id(2), "url": page}
