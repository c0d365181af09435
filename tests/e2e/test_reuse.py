"""Answers are paid for once; failing tasks fail alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.e2e.stack import TASKS, Stack

Body = dict[str, Any]


def test_an_identical_job_touches_no_engine(stack: Stack, body: Body) -> None:
    again = body | {"reuse_responses": True, "tasks": ["e2e_generate", "e2e_choice"], "limit": 20}
    again["gen_kwargs"] = {"max_gen_toks": 1}
    first, second = stack.run(again), stack.run(again)
    assert first["progress"]["reused"] == 0
    assert first["gpu_seconds"] > 0
    assert second["progress"]["reused"] == second["progress"]["total"] == first["progress"]["total"]
    assert second["gpu_seconds"] == 0
    documents = [json.loads(stack.artifact(job["id"], "results_")) for job in (first, second)]
    for document in documents:
        del document["date"], document["total_evaluation_time_seconds"]
    assert documents[0] == documents[1], "what the engine said of itself is kept with its answers"
    assert documents[0]["config"]["model_num_parameters"] > 0
    told = [{task["name"]: task["quality"] for task in job["tasks"]} for job in (first, second)]
    assert told[0] == told[1] == stack.results(second["id"])["evalq"]["quality"]
    assert {quality["requests_not_known"] for quality in told[1].values()} == {0}
    truncated = stack.http.get(f"/jobs/{second['id']}/samples", params={"filter": "truncated"}).json()["data"]
    assert len({row["doc_id"] for row in truncated}) == told[1]["e2e_generate"]["answers_truncated"] > 0


def test_a_larger_limit_pays_only_for_the_new_documents(stack: Stack, body: Body) -> None:
    rolling = body | {"reuse_responses": True, "tasks": ["e2e_rolling"]}
    small, large = stack.run(rolling | {"limit": 5}), stack.run(rolling | {"limit": 8})
    assert large["progress"]["reused"] == small["progress"]["total"] < large["progress"]["total"]


def test_a_seed_gives_the_same_samples_whatever_runs_them_and_none_is_reused(
    stack: Stack, body: Body
) -> None:
    sampled = body | {
        "reuse_responses": True,
        "tasks": ["e2e_generate"],
        "limit": 6,
        "gen_kwargs": {"do_sample": True, "temperature": 1.5},
        "seed": 5,
    }
    crowded = {"tasks": ["e2e_choice", "e2e_generate"], "batch_size": "auto", "reuse_responses": False}
    jobs = [stack.run(sampled | other) for other in ({"replicas": 1}, crowded, {"seed": [5, 5, 6, 5]})]
    assert [job["progress"]["reused"] for job in jobs] == [0, 0, 0]
    once, again, otherwise = (
        [
            json.loads(line)["resps"]
            for line in stack.artifact(job["id"], "samples_e2e_generate_").splitlines()
        ]
        for job in jobs
    )
    assert once == again
    assert once != otherwise


def test_a_task_without_data_fails_alone(stack: Stack, body: Body) -> None:
    job = stack.finished(stack.submit(body | {"tasks": ["e2e_lost", "e2e_generate"], "limit": 4}))
    assert job["status"] == "partially_failed"
    tasks = {task["name"]: task for task in job["tasks"]}
    assert tasks["e2e_generate"]["status"] == "succeeded"
    assert tasks["e2e_lost"]["status"] == "failed"
    assert tasks["e2e_lost"]["error"]["code"] == "dataset_error"
    assert "gone" in tasks["e2e_lost"]["error"]["message"]
    assert list(stack.results(job["id"])["results"]) == ["e2e_generate"]


def test_broken_tasks_of_a_folder_leave_the_others_alone(stack: Stack, body: Body) -> None:
    job = stack.finished(stack.submit(body | {"tasks": [f"{TASKS}/troubles", "e2e_generate"], "limit": 3}))
    errors = {task["name"]: task["error"] or {} for task in job["tasks"]}
    events = stack.http.get(f"/jobs/{job['id']}/events", headers={"Accept": "application/json"}).text
    results = stack.results(job["id"])
    assert job["status"] == "partially_failed"
    assert {name: error.get("code") for name, error in errors.items()} == {
        "e2e_generate": None,
        "e2e_leaves": "task_error",
        "e2e_nested": None,
        "e2e_number": "task_error",
        "e2e_refuses": "task_error",
        "e2e_unsplit": "dataset_error",
    }
    assert errors["e2e_leaves"]["message"].startswith("the harness child ended with exit status 7 while")
    assert "document 0: the continuation" in errors["e2e_number"]["message"]
    assert errors["e2e_refuses"]["message"] == "ValueError: a\\x00b\\ud800 (document 0, process_results)"
    assert errors["e2e_unsplit"]["message"] == "the dataset has no split 'held_out'; it has: test"
    assert results["results"]["e2e_nested"]["exact_match,none"] == {"mean": None, "n": float(2**70)}
    assert '"mean": NaN,' in stack.artifact(job["id"], "results_")
    assert results["n-samples"]["e2e_generate"]["effective"] == 3
    assert not re.search(r"psycopg|SQL|INSERT", f"{job}{events}{results}")


def test_a_document_that_no_engine_can_answer_is_named_and_the_others_are_scored(
    stack: Stack, model: Path
) -> None:
    echo = {"pretrained": str(model), "fail_on": "Clara"}
    job = stack.finished(
        stack.submit({"model": "echo", "model_args": echo, "tasks": ["e2e_generate"], "limit": 12})
    )
    samples = stack.http.get(f"/jobs/{job['id']}/samples", params={"filter": "error"}).json()["data"]
    document = stack.results(job["id"])
    assert job["status"] == job["tasks"][0]["status"] == "partially_failed"
    assert samples
    assert all("Clara" in json.dumps(row["doc"]) and row["evalq_error"]["code"] for row in samples)
    assert f"no answer for document {samples[0]['doc_id']}" in job["error"]["message"]
    assert document["n-samples"]["e2e_generate"]["effective"] == 12 - len(samples)
    assert f"scored on {12 - len(samples)} of 12 documents" in document["warnings"][0]


def test_a_setting_that_only_the_engine_knows_to_be_wrong_costs_few_calls(stack: Stack, body: Body) -> None:
    wrong = body | {"tasks": ["e2e_generate", "e2e_choice"], "gen_kwargs": {"bad_words_ids": 5}}
    job = stack.finished(stack.submit(wrong))
    assert job["status"] == "partially_failed"
    tasks = {task["name"]: task for task in job["tasks"]}
    assert tasks["e2e_choice"]["status"] == "succeeded"
    error = tasks["e2e_generate"]["error"]
    assert error["code"] == "task_error"
    assert "so failed each of 5 requests tried alone" in error["message"]
    assert 5 < stack.told("worker").count("`bad_words_ids` has to be") < 20, "of 60 requests, on two replicas"


def test_a_running_job_stops_when_it_is_cancelled(stack: Stack, body: Body) -> None:
    job_id = stack.submit(body | {"batch_size": 1, "replicas": 1})  # slow enough to be stopped
    stack.until(job_id, lambda job: job["status"] == "running")
    assert stack.http.post(f"/jobs/{job_id}/cancel").status_code == 200
    assert stack.finished(job_id, 30)["status"] == "cancelled"


def test_a_paused_job_goes_on_with_what_it_has(stack: Stack, body: Body) -> None:
    job_id = stack.submit(body | {"batch_size": 1, "replicas": 1})  # slow enough to be stopped
    stack.until(job_id, lambda job: job["status"] == "running")
    assert stack.http.post(f"/jobs/{job_id}/pause").status_code == 200
    stack.until(job_id, lambda job: job["status"] == "paused", 30)
    assert stack.http.post(f"/jobs/{job_id}/resume").status_code == 200
    assert stack.finished(job_id)["status"] == "succeeded"


def test_a_model_that_cannot_be_loaded_fails_the_job_with_its_cause(stack: Stack, body: Body) -> None:
    broken = body | {
        "model_args": body["model_args"] | {"layer_types": ["of_another_kind_of_model"]},
        "tasks": ["e2e_generate"],
    }
    job = stack.finished(stack.submit(broken))
    assert job["status"] == "failed"
    assert job["error"]["code"] == "engine_start_failed"
    assert job["error"]["log_tail"]
