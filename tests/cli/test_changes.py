"""Verbs that ask something of one or more jobs."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id, problem


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
def test_a_job_is_asked_to_change(evalq: Evalq, api: FakeApi, verb: str) -> None:
    api.jobs = [job(2), job(1)]
    for number in (1, 2):
        api.answers[f"POST /v1/jobs/{job_id(number)}/{verb}"] = (200, job(number))
    assert evalq(verb, job_id(1)[:8], job_id(2), "-q").stdout.split() == [job_id(1), job_id(2)]


def test_an_impossible_change_is_an_error_in_words(evalq: Evalq, api: FakeApi) -> None:
    answer = 409, problem(409, "Conflict", "the job is succeeded")
    api.answers[f"POST /v1/jobs/{job_id(1)}/cancel"] = answer
    assert evalq("cancel", job_id(1)).stderr == "evalq: the job is succeeded\n"
    assert evalq("cancel", job_id(1)).exit_code == 1


def test_a_job_is_tried_again_with_other_values(evalq: Evalq, api: FakeApi) -> None:
    spec = {"model": "vllm", "model_args": {"pretrained": "a/b", "max_model_len": 4096}, "batch_size": "auto"}
    api.jobs = [job(1, "failed", spec=spec)]
    api.answers["POST /v1/jobs"] = (202, job(2, "queued"))
    answer = evalq(
        "retry", job_id(1), "-q", "--set", "model_args.max_model_len=2048", "--set", "gpus_per_replica=2",
        "--set", "model_args.quantization=fp8", "--set", "model_args.load_in_4bit=True", "--set", "group=a=b",
    )  # fmt: skip
    assert answer.stdout.split() == [job_id(2)]
    args = {"pretrained": "a/b", "max_model_len": 2048, "quantization": "fp8", "load_in_4bit": True}
    assert api.seen[-1].body == {**spec, "model_args": args, "gpus_per_replica": 2, "group": "a=b"}


@pytest.mark.parametrize("change", ["", "=5", "max_model_len"])
def test_a_change_without_a_value_is_wrong_usage(evalq: Evalq, api: FakeApi, change: str) -> None:
    api.jobs = [job(1, "failed")]
    assert evalq("retry", job_id(1), "--set", change).exit_code == 2
    assert [seen.method for seen in api.seen if seen.method == "POST"] == []


def test_one_that_refuses_keeps_no_other_from_it(evalq: Evalq, api: FakeApi) -> None:
    conflict, gone = (
        (409, problem(409, "Conflict", "it has ended")),
        (404, problem(404, "Gone", "no such job")),
    )
    api.answers[f"POST /v1/jobs/{job_id(1)}/cancel"] = conflict
    api.answers[f"POST /v1/jobs/{job_id(2)}/cancel"] = (200, job(2))
    api.answers[f"POST /v1/jobs/{job_id(3)}/cancel"] = gone
    answer = evalq("cancel", "-q", *(job_id(number) for number in (1, 2, 3, 2)))
    assert (answer.exit_code, answer.stdout) == (1, f"{job_id(2)}\n")
    assert answer.stderr == f"evalq: {job_id(1)}: it has ended\n{job_id(3)}: no such job\n"
    assert [seen.path for seen in api.seen].count(f"/v1/jobs/{job_id(2)}/cancel") == 1


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (("--priority", "0"), {"priority": 0}),
        (("--name", "", "--tag", "a", "--tag", "b"), {"name": "", "tags": ["a", "b"]}),
        (("--no-tags",), {"tags": []}),
    ],
)
def test_what_is_named_is_set_and_nothing_else(
    evalq: Evalq, api: FakeApi, options: tuple[str, ...], body: object
) -> None:
    api.answers[f"PATCH /v1/jobs/{job_id(1)}"] = (200, job(1, priority=7))
    answer = evalq("set", job_id(1), *options, "--json")
    assert json.loads(answer.stdout)[0]["priority"] == 7
    assert api.seen[-1].body == body


@pytest.mark.parametrize("options", [(), ("--tag", "a", "--no-tags"), ("--priority", "high")])
def test_nothing_to_set_is_wrong_usage(evalq: Evalq, api: FakeApi, options: tuple[str, ...]) -> None:
    assert evalq("set", job_id(1), *options).exit_code == 2
    assert api.seen == []


def test_what_is_deleted_is_named(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(1)]
    api.answers[f"DELETE /v1/jobs/{job_id(1)}"] = (204, None)
    assert evalq("delete", "@last").stdout == f"{job_id(1)}  deleted\n"
    assert evalq("delete", job_id(1), "-q").stdout == f"{job_id(1)}\n"
