from __future__ import annotations

import json

import pytest

from app.domain.quality import TaskQuality
from app.workloads.lm_eval.result_table import comma_separated, markdown
from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id

DOCUMENT = {
    "results": {
        "arc": {"alias": "arc", "acc,none": 0.5678, "acc_stderr,none": 0.0123, "sample_len": 3},
        "gen": {
            "alias": "gen",
            "exact_match,strict-match": 0.9999,
            "exact_match_stderr,strict-match": 0.0042,
        },
        "wiki": {"alias": "wiki", "bits_per_byte,none": 1.2345, "bits_per_byte_stderr,none": "N/A"},
        "grp": {"alias": "grp", "acc,none": 0.6251, "acc_stderr,none": 0.1001},
    },
    "groups": {"grp": {"alias": "grp", "acc,none": 0.6251, "acc_stderr,none": 0.1001}},
    "versions": {"arc": 1.0, "gen": 2, "wiki": 3, "grp": 1},
    "n-shot": {"arc": 0, "gen": 5, "wiki": 0, "grp": 0},
    "group_subtasks": {"grp": ["arc", "gen"]},
    "higher_is_better": {
        "arc": {"acc": True},
        "gen": {"exact_match": True},
        "wiki": {"bits_per_byte": False},
        "grp": {"acc": True},
    },
}

SPEC = {"model": "hf", "model_args": {"pretrained": "a/b"}, "tasks": ["arc"], "limit": 5}
# As lm_eval 0.4.13 prints it.
TABLE = """\
|Tasks |Version|   Filter   |n-shot|   Metric    |   |Value |   |Stderr|
|------|------:|------------|-----:|-------------|---|-----:|---|-----:|
|grp   |      1|none        |     0|acc          |↑  |0.6251|±  |0.1001|
| - arc|      1|none        |     0|acc          |↑  |0.5678|±  |0.0123|
| - gen|      2|strict-match|     5|exact_match  |↑  |0.9999|±  |0.0042|
|wiki  |      3|none        |     0|bits_per_byte|↓  |1.2345|±  |   N/A|"""
GROUPS = """\
|Groups|Version|Filter|n-shot|Metric|   |Value |   |Stderr|
|------|------:|------|-----:|------|---|-----:|---|-----:|
|grp   |      1|none  |     0|acc   |↑  |0.6251|±  |0.1001|"""


def test_the_table_is_lm_evals_own() -> None:
    assert markdown(DOCUMENT) == f"{TABLE}\n\n{GROUPS}"


def test_a_task_with_several_metrics_is_named_once() -> None:
    rows = markdown(
        {"results": {"t": {"acc,none": 0.5, "acc_norm,none": float("nan"), "f1,none": 3}}}
    ).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["t", "", ""]
    assert [row.split("|")[7].strip() for row in rows[2:]] == ["0.5000", "NaN", "3"]


def test_a_group_that_holds_itself_is_drawn_once() -> None:
    document = {"results": {"a": {"acc,none": 1.0}}, "group_subtasks": {"r": ["a", "b"], "b": ["a", "b"]}}
    assert len(markdown(document).splitlines()) == 3


def test_comma_separated_values_keep_their_precision() -> None:
    lines = comma_separated(DOCUMENT).splitlines()
    assert lines[0] == "task,version,filter,n_shot,metric,higher_is_better,value,stderr"
    assert "arc,1.0,none,0,acc,True,0.5678,0.0123" in lines


@pytest.fixture
def finished(api: FakeApi) -> FakeApi:
    api.jobs = [job(1, spec=SPEC, ended_at="2026-11-22T00:01:00Z")]
    api.answers[f"GET /v1/jobs/{job_id(1)}/results"] = (200, DOCUMENT)
    return api


HEADLINE = "hf ({'pretrained': 'a/b'}), gen_kwargs: ({}), limit: 5, num_fewshot: None, batch_size: auto"
CSV_HEADER = "job,model,ended_at,task,version,filter,n_shot,metric,higher_is_better,value,stderr"


@pytest.mark.parametrize("shape", ["table", "md"])
def test_results_are_lm_evals_line_and_its_table(evalq: Evalq, finished: FakeApi, shape: str) -> None:
    printed = evalq("results", "@last", "-o", shape).stdout
    assert printed == f"{HEADLINE}\n\n{TABLE}\n\n{GROUPS}\n"


def test_comma_separated_results_name_job_model_and_end(evalq: Evalq, finished: FakeApi) -> None:
    header, first, *_ = evalq("results", "@last", "-o", "csv").stdout.splitlines()
    assert header == CSV_HEADER
    assert first.startswith(f"{job_id(1)},a/b,2026-11-22T00:01:00Z,grp,1,none,0,acc,True,0.6251,0.1001")


def test_results_of_several_jobs_come_together(evalq: Evalq, finished: FakeApi) -> None:
    partial = {"results": {"t": {"acc,none": 0.5}}, "evalq": {"complete": False}}
    finished.jobs.append(job(2, "running", spec=SPEC))
    finished.answers[f"GET /v1/jobs/{job_id(2)}/results"] = (200, partial)
    both = ("results", job_id(1), job_id(2), job_id(1))
    lines = evalq(*both, "-o", "csv").stdout.splitlines()
    assert (lines[0], lines.count(CSV_HEADER), len(lines)) == (CSV_HEADER, 1, 6)
    assert json.loads(evalq(*both, "--json").stdout) == [DOCUMENT, partial]
    shown = evalq(*both)
    assert [shown.stdout.count(f"{job_id(number)}  nightly\n{HEADLINE}") for number in (1, 2)] == [1, 1]
    assert shown.stderr.startswith(f"{job_id(2)}: the job has not finished")


def test_results_as_json_are_the_whole_document(evalq: Evalq, finished: FakeApi) -> None:
    assert json.loads(evalq("results", "@last", "-o", "json").stdout) == DOCUMENT
    assert json.loads(evalq("results", "@last", "--json").stdout) == DOCUMENT


def test_results_of_a_running_job_are_called_unfinished(evalq: Evalq, api: FakeApi) -> None:
    partial = {"results": {"t": {"acc,none": 0.5}}, "evalq": {"complete": False}}
    api.jobs = [job(1, "running")]
    api.answers[f"GET /v1/jobs/{job_id(1)}/results"] = (200, partial)
    assert "has not finished" in evalq("results", job_id(1)).stderr


def test_what_a_reader_of_the_scores_must_know_is_said_beside_them(evalq: Evalq, api: FakeApi) -> None:
    quality = {"t": TaskQuality(4, 1, 3, 0, 0, 3, 2, 0, 256, {}).to_json(), "old": None}
    scored = {
        "results": {"t": {"acc,none": 0.5}},
        "warnings": ["task t is scored on 3 of 4 documents: it died"],
        "evalq": {"complete": True, "quality": quality},
    }
    api.jobs = [job(1, tasks=[job(1)["tasks"][0] | {"quality": quality["t"]}])]
    api.answers[f"GET /v1/jobs/{job_id(1)}/results"] = (200, scored)
    answer = evalq("results", job_id(1))
    told = "2 of 3 answers of t ended at 256 tokens: raise max_gen_toks"
    assert answer.stderr.splitlines() == [*scored["warnings"], told]
    assert "ended at" not in answer.stdout
    shown = evalq("show", job_id(1)).stdout.splitlines()
    assert "  2 of 3 answers of gsm8k ended at 256 tokens: raise max_gen_toks" in shown


def test_samples_are_a_line_each_over_all_pages(evalq: Evalq, api: FakeApi) -> None:
    api.answers[f"GET /v1/jobs/{job_id(1)}/samples"] = (200, {"data": [{"doc_id": 0}], "next_cursor": None})
    answer = evalq("samples", job_id(1), "--task", "gsm8k", "--filter", "incorrect", "-n", "5")
    assert [json.loads(line) for line in answer.stdout.splitlines()] == [{"doc_id": 0}]
    assert api.seen[0].query == {"task": "gsm8k", "filter": "incorrect", "limit": "5"}


def test_logs_are_printed_and_end(evalq: Evalq, api: FakeApi) -> None:
    api.answers[f"GET /v1/jobs/{job_id(1)}/logs"] = (200, "first\nsecond\n")
    answer = evalq("logs", job_id(1), "--tail", "2")
    assert (answer.stdout, answer.exit_code) == ("first\nsecond\n", 0)
    assert api.seen[0].query == {"tail": "2"}


def test_following_a_job_that_fails_does_not_succeed(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(1, "failed")]
    api.answers[f"GET /v1/jobs/{job_id(1)}/logs"] = (200, "boom\n")
    answer = evalq("logs", "-f", job_id(1))
    assert (answer.stdout, answer.exit_code) == ("boom\n", 100)
    assert api.seen[0].query == {"follow": "true"}


def test_logs_of_an_unknown_job_are_not_found(evalq: Evalq) -> None:
    assert evalq("logs", job_id(1)).exit_code == 102
