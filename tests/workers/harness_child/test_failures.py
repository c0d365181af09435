from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError

from workers.harness_child.lm_eval import hub
from workers.protocol.harness import ChunkCut, FailureTold, Prepared, TaskFailed

from .coordinator import Ordered, Run, message

Orders = Callable[..., Ordered]


@pytest.mark.parametrize(
    ("task", "code", "words"),
    [
        ("no_data", "dataset_error", "absent.jsonl"),
        ("broken_template", "task_error", "nothing_like_it"),
        ("broken_metric", "task_error", "the metric divides by zero"),
        ("unsafe", "task_error", "confirm_run_unsafe_code"),
        ("not_a_task", "task_error", "not_a_task"),
    ],
)
def test_a_task_fails_alone(task: str, code: str, words: str, order: Orders) -> None:
    alone = Run().serve(order("sums"))
    run = Run().serve(order(task, "sums"))

    assert run.status == 0
    assert run.failures == {task: code}
    assert words in message(run, task)
    assert run.document["results"] == alone.document["results"]
    assert run.rows("sums") == alone.rows("sums")


def test_a_task_without_documents_has_a_dataset_error(order: Orders) -> None:
    job = order("empty_data", "sums")
    (job.folder / "empty.jsonl").write_text("")
    assert Run().serve(job).failures == {"empty_data": "dataset_error"}


def test_unsafe_code_runs_once_it_is_confirmed(order: Orders) -> None:
    run = Run().serve(order("unsafe", confirm_run_unsafe_code=True))

    assert run.failures == {}
    assert run.document["results"]["unsafe"]["exact_match,none"] == 1.0


def test_a_group_that_lost_a_task_has_no_aggregate(order: Orders) -> None:
    run = Run().serve(order("half_broken"))

    assert run.failures["no_data"] == "dataset_error"
    assert "acc,none" in run.document["results"]["more_sums"]
    assert "acc,none" not in run.document["results"]["half_broken"]
    assert "groups" not in run.document
    assert run.document["warnings"] == [
        "group half_broken has no aggregate: not all of its tasks have results"
    ]


def test_an_aggregate_of_a_metric_that_no_member_has_is_told(order: Orders) -> None:
    run = Run().serve(order("in_vain"))

    assert "acc,none" in run.document["results"]["in_vain"]
    assert run.document["warnings"] == [
        "group in_vain has no acc of filter strict: none of its tasks has it",
        "group in_vain has no exact_match: none of its tasks has this metric",
    ]


def test_a_member_that_nobody_has_fails_in_words(order: Orders) -> None:
    run = Run().serve(order("strangers"))

    assert run.failures == {"nobody": "task_error"}
    assert message(run, "nobody") == "group 'strangers' names 'nobody', which is no task, group or tag"
    assert "acc,none" in run.document["results"]["sums"]


def test_the_frames_of_a_failed_task_are_those_of_others(order: Orders) -> None:
    for task in ("no_data", "broken_metric"):
        told = next(each.fault.traceback for each in Run().serve(order(task, "sums")).of(TaskFailed))
        assert "Traceback (most recent call last):" in told
        assert "lm_eval" in told
        assert "workers/harness_child" not in told


def test_a_job_without_tasks_is_logged_in_a_line(order: Orders, caplog: pytest.LogCaptureFixture) -> None:
    Run().serve(order("no_data"))
    [said] = [each for each in caplog.records if each.getMessage().startswith("the job failed: every task")]
    assert not said.exc_info


def test_a_job_fails_when_every_task_does(order: Orders) -> None:
    run = Run().serve(order("no_data"))

    assert run.status == 1
    assert run.fault_of_the_job.code == "dataset_error"
    assert run.of(Prepared) == []


def test_a_job_whose_tasks_all_fail_in_scoring_fails(order: Orders) -> None:
    run = Run().serve(order("broken_metric"))

    assert run.status == 1
    assert run.fault_of_the_job.code == "task_error"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"samples": {"sums": [1, 99]}}, "12 documents, numbered from 0: there is no document 99"),
        ({"samples": {"sums": [-1]}}, "document numbers from 0"),
    ],
)
def test_samples_that_do_not_exist_fail_their_task(spec: dict[str, Any], words: str, order: Orders) -> None:
    run = Run().serve(order("sums", "more_sums", **spec))

    assert run.failures == {"sums": "task_error"}
    assert words in message(run, "sums")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"limit": -3}, "limit must be positive"),
        ({"limit": 3, "samples": {"sums": [1]}}, "exclude each other"),
        ({"fewshot_as_multiturn": True}, "needs apply_chat_template"),
    ],
)
def test_settings_that_contradict_themselves_fail_the_job(
    spec: dict[str, Any], words: str, order: Orders
) -> None:
    assert words in Run().serve(order("sums", **spec)).fault_of_the_job.message


def test_a_task_named_twice_fails_the_job_as_in_lm_eval(order: Orders) -> None:
    error = Run().serve(order("all_sums", "sums")).fault_of_the_job

    assert error.code == "task_error"
    assert "Duplicate task 'sums'" in error.message


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("until: [5]", "generation_kwargs.until must be text, or a list of at most 1000 texts, not [5]"),
        ("until: null", "generation_kwargs.until must be text, or a list of at most 1000 texts, not None"),
        (
            "max_gen_toks: 0",
            "generation_kwargs.max_gen_toks must be a whole number from 1 to 10000000, not 0",
        ),
        ("max_gen_toks: 2024-01-01", "generation_kwargs must be plain values"),
        ("do_sample: 'yes'", "generation_kwargs.do_sample must be true or false, not 'yes'"),
        (
            "temprature: 0.5",
            "generation_kwargs.temprature is no generation setting of hf; did you mean temperature?",
        ),
        ('"a\\0b": 1', "generation_kwargs.'a\\x00b' is no generation setting of hf"),
        ("seed: 3", "generation_kwargs.seed is not taken"),
        ("temperature: hot", "generation_kwargs.temperature must be a number of at least 0, not 'hot'"),
        ("temperature: null", "generation_kwargs.temperature must be a number of at least 0, not None"),
        ("5: 6", "generation_kwargs must be plain values: 5 is no text"),
    ],
)
def test_a_setting_that_no_engine_takes_fails_its_task_before_one_is_asked(
    given: str, says: str, order: Orders
) -> None:
    job = order("wrong", "sums")
    name = given.partition(":")[0]
    yaml = (job.folder / "generated.yaml").read_text().replace("task: generated", "task: wrong")
    kept = [line for line in yaml.splitlines() if not line.startswith(f"  {name}:")]
    (job.folder / "wrong.yaml").write_text(
        "\n".join(kept).replace("generation_kwargs:", f"generation_kwargs:\n  {given}")
    )
    run = Run().serve(job)

    assert run.failures == {"wrong": "task_error"}
    assert message(run, "wrong").startswith(says)
    assert {chunk.kind for chunk in run.of(ChunkCut)} == {"loglikelihood"}
    assert "sums" in run.document["results"]


@pytest.mark.parametrize("given", ["[until]", "greedy", "5"])
def test_settings_that_are_no_settings_are_told(given: str, order: Orders) -> None:
    job = order("wrong", "sums")
    yaml = (job.folder / "generated.yaml").read_text().partition("generation_kwargs:")[0]
    yaml = yaml.replace("task: generated", "task: wrong") + f"generation_kwargs: {given}\n"
    (job.folder / "wrong.yaml").write_text(yaml)
    run = Run().serve(job)

    assert run.failures == {"wrong": "task_error"}
    assert message(run, "wrong").startswith("generation_kwargs must be an object of settings, not")


def test_the_jobs_settings_and_the_tasks_are_judged_together(order: Orders) -> None:
    run = Run().serve(order("generated", "sampled", gen_kwargs={"do_sample": True}))

    assert run.failures == {"generated": "task_error"}
    assert "temperature must be above 0 where do_sample is true, not 0" in message(run, "generated")
    assert "sampled" in run.document["results"]


def test_a_length_that_no_prompt_fits_fails_its_documents_before_an_engine_is_asked(order: Orders) -> None:
    run = Run().serve(order("generated", "sums", gen_kwargs={"max_length": 4}))

    assert run.failures == {"generated": "task_error"}
    assert "generation_kwargs.max_length 4 counts the prompt too" in message(run, "generated")
    assert {chunk.kind for chunk in run.of(ChunkCut)} == {"loglikelihood"}


def test_a_model_that_is_not_there_fails_the_job(order: Orders) -> None:
    job = order("sums")
    job.model = job.folder
    error = Run().serve(job).fault_of_the_job

    assert error.code in {"model_not_found", "tokenizer_error"}


def test_a_file_is_not_a_task(order: Orders) -> None:
    job = order("sums")
    run = Run().serve(order("sums", str(job.folder / "greedy.yaml")))

    assert list(run.failures.values()) == ["task_error"]


def test_a_chat_template_must_be_one_the_tokenizer_has(order: Orders, tmp_path: Path) -> None:
    job = order("sums", apply_chat_template="absent")
    job.model = tmp_path / "model"
    shutil.copytree(order("sums").model, job.model)
    named = tmp_path / "model" / "additional_chat_templates"
    named.mkdir()
    (named / "tools.jinja").write_text("{{ messages }}")
    error = Run().serve(job).fault_of_the_job

    assert error.code == "tokenizer_error"
    assert "absent" in error.message


def test_a_hub_that_cannot_be_reached_is_no_missing_model(order: Orders) -> None:
    job = order("sums")
    job.model = Path("nobody/nothing")
    error = Run().serve(job).fault_of_the_job

    assert error.code == "hub_unreachable"
    assert "nobody/nothing" in error.message
    assert "HF_ENDPOINT" in str(error.hint)


def test_data_on_a_hub_that_cannot_be_reached_are_told_with_what_helps(order: Orders) -> None:
    job = order("sums", "more_sums")
    sums = job.folder / "sums.yaml"
    data = re.search(r"dataset_path.*?test.jsonl\n", sums.read_text(), re.DOTALL)
    assert data
    sums.write_text(sums.read_text().replace(data[0], "dataset_path: nobody/nothing\n"))
    run = Run().serve(job)

    assert run.failures == {"sums": "dataset_error"}
    assert "HF_ENDPOINT" in str(run.one(TaskFailed).fault.hint)


@pytest.mark.parametrize(("status", "reached"), [(404, True), (401, True), (429, False), (503, False)])
def test_a_hub_that_answers_is_reached(status: int, reached: bool) -> None:
    response = httpx.Response(status, request=httpx.Request("HEAD", "https://hub"))
    outer = OSError("no such model")
    outer.__cause__ = HfHubHTTPError("no", response=response)
    assert hub.unreachable(outer) is not reached


def test_the_code_of_a_task_that_was_given_up_is_not_run_again(order: Orders) -> None:
    job = order("half_dead", "sums")
    (job.folder / "deadly.py").write_text("import os\nos._exit(3)\n")
    (job.folder / "dead.yaml").write_text("task: dead\nprocess_docs: !function deadly.f\n")
    (job.folder / "half_dead.yaml").write_text(
        "group: half_dead\ntask: [dead, more_sums]\naggregate_metric_list: [{metric: acc}]\n"
    )
    job.given_up = {"dead": FailureTold("task_error", "it ended the harness child")}
    run = Run().serve(job)

    assert run.of(TaskFailed) == [], "its coordinator knows"
    assert list(run.document["results"]) == ["more_sums", "sums", "half_dead"]
    assert run.document["warnings"] == ["group half_dead has no aggregate: not all of its tasks have results"]
