"""Requests that no engine answers: what their documents, their task and the others get."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from app.domain.chunk import ALONE as CHUNK_ALONE
from workers.harness_child.lm_eval.shared_faults import ALONE as SHARED_ALONE
from workers.protocol.harness import ChunkCut, FailureTold, TaskFinished, Withdraw

from .coordinator import Ordered, Run, message

Orders = Callable[..., Ordered]


def rows(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.rows("generated")]


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


def test_what_a_failing_task_asked_changes_no_question_of_the_others(order: Orders) -> None:
    job = order("generated", "greedy")
    yaml = (job.folder / "generated.yaml").read_text().replace("task: generated", "task: twin")
    (job.folder / "twin.yaml").write_text(yaml.replace("repeats: 2", "repeats: 10000000000"))
    alone = Run().serve(job)
    again = Run(store=dict(alone.store)).serve(order("twin", "generated", "greedy"))

    assert again.failures == {"twin": "task_error"}
    assert again.of(ChunkCut) == []
