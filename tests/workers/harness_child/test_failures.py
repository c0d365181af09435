from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError

from app.domain.chunk import ALONE as CHUNK_ALONE
from workers.harness_child.lm_eval import hub
from workers.harness_child.lm_eval.shared_faults import ALONE as SHARED_ALONE
from workers.protocol.harness import ChunkCut, FailureTold, Prepared, TaskFailed, TaskFinished, Withdraw

from .coordinator import Ordered, Run

Orders = Callable[..., Ordered]


def message(run: Run, task: str) -> str:
    (error,) = [failed.fault for failed in run.of(TaskFailed) if failed.task == task]
    return error.message


def rows(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.rows("generated")]


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
    assert "unsafe" in run.document["results"]


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


def test_a_document_without_an_answer_is_left_out_of_the_score_and_named(order: Orders) -> None:
    run = Run(refuse="What is 3 plus").serve(order("generated", "sums"))
    whole = Run().serve(order("generated", "sums"))

    assert not run.failures
    told = {finished.task: finished.fault for finished in run.of(TaskFinished)}
    assert told["sums"] is None
    assert told["generated"]
    assert told["generated"].code == "engine_died"
    assert told["generated"].message.startswith("no answer for document 2 (1 of ")
    before, after = (r.document["n-samples"]["generated"] for r in (whole, run))
    assert after == {"original": before["original"], "effective": before["effective"] - 1}
    assert run.document["results"]["sums"] == whole.document["results"]["sums"]
    assert run.document["warnings"][0].startswith("task generated is scored on ")


def test_the_lines_of_the_other_documents_are_as_if_nothing_had_happened(order: Orders) -> None:
    missing, *scored = rows(Run(refuse="What is 3 plus").serve(order("generated")))
    whole = rows(Run().serve(order("generated")))

    assert scored == [row for row in whole if row["doc_id"] != 2]
    assert missing["doc_id"] == 2
    assert missing["evalq_error"]["code"] == "engine_died"
    twin = next(row for row in whole if row["doc_id"] == 2)
    same = {"doc", "target", "arguments", "doc_hash", "prompt_hash", "target_hash"}
    assert {name: missing[name] for name in same} == {name: twin[name] for name in same}


def test_a_missing_document_is_named_as_the_job_chose_it(order: Orders) -> None:
    run = Run(refuse="What is 3 plus").serve(order("generated", samples={"generated": [1, 2, 3]}))

    assert [finished.fault.message[:35] for finished in run.of(TaskFinished) if finished.fault] == [
        "no answer for document 2 (1 of 3): "
    ]
    assert sorted(row["doc_id"] for row in rows(run)) == sorted([2, *[1, 3] * 2])


def test_a_task_without_any_answer_fails_and_tells_each_document(order: Orders) -> None:
    run = Run(refuse="What is").serve(order("generated", "sums"))

    assert run.failures == {"generated": "engine_died"}
    lines = rows(run)
    assert lines
    assert all(row["evalq_error"] for row in lines)


REFUSED = FailureTold("internal", "ValueError: input of 7 tokens is not liked")


def test_requests_that_all_fail_alike_are_spared_after_a_few(order: Orders) -> None:
    run = Run(refuse="What is", fault=REFUSED).serve(order("generated", "sums"))

    assert run.failures == {"generated": "task_error"}
    withdrawn = run.one(Withdraw).keys
    assert len(withdrawn) == 12 * 2 - 5
    said = "ValueError: input of 7 tokens is not liked (so failed each of 5 requests tried alone"
    assert said in message(run, "generated")
    assert all(row["evalq_error"]["code"] == "task_error" for row in rows(run))
    assert "sums" in run.document["results"]


def test_as_many_requests_are_judged_as_a_chunk_tries_alone() -> None:
    assert SHARED_ALONE == CHUNK_ALONE


def test_a_task_of_few_documents_that_all_fail_alike_is_at_fault_itself(order: Orders) -> None:
    run = Run(refuse="What is", fault=REFUSED).serve(order("generated", "sums", limit=1))

    assert run.failures == {"generated": "task_error"}
    assert run.of(Withdraw) == []
    assert message(run, "generated").endswith("(1 of 1): ValueError: input of 7 tokens is not liked")


def test_a_fault_of_single_documents_stays_theirs(order: Orders) -> None:
    run = Run(refuse="What is 1", fault=REFUSED).serve(order("generated", "sums"))

    assert run.failures == {}
    assert run.of(Withdraw) == []
    (told,) = [finished.fault for finished in run.of(TaskFinished) if finished.task == "generated"]
    assert told
    assert told.code == "internal"


def test_a_task_of_the_same_settings_is_judged_by_its_own_requests(order: Orders) -> None:
    job = order("generated", "other")
    yaml = (job.folder / "generated.yaml").read_text()
    other = yaml.replace("task: generated", "task: other").replace("Question: ", "Sum: ")
    (job.folder / "other.yaml").write_text(other)
    run = Run(refuse="Question: ", fault=REFUSED).serve(job)

    assert run.failures == {"generated": "task_error"}
    assert "other" in run.document["results"]


def test_a_question_no_engine_can_answer_fails_its_task(order: Orders) -> None:
    run = Run().serve(order("generated", "sums", gen_kwargs={"max_gen_toks": 500}))

    assert run.failures == {"generated": "task_error"}
    assert "leaves no room for a prompt" in message(run, "generated")


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


def test_what_a_failing_task_asked_changes_no_question_of_the_others(order: Orders) -> None:
    job = order("generated", "greedy")
    yaml = (job.folder / "generated.yaml").read_text().replace("task: generated", "task: twin")
    (job.folder / "twin.yaml").write_text(yaml.replace("repeats: 2", "repeats: 10000000000"))
    alone = Run().serve(job)
    again = Run(store=dict(alone.store)).serve(order("twin", "generated", "greedy"))

    assert again.failures == {"twin": "task_error"}
    assert again.of(ChunkCut) == []
