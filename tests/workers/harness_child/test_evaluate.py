from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.utils import normalize_gen_kwargs

from workers.harness_child.lm_eval.shapes import HFLMRules
from workers.protocol.harness import (
    AllCut,
    ChunkCut,
    LookUp,
    Prepared,
    Results,
    SampleRows,
    ScoringBegun,
    TaskFinished,
    TellFacts,
)
from workers.protocol.payload import DRAW_BYTES, RequestKind, unpack_requests

from . import reference
from .conftest import MAX_LENGTH, documents, write_data
from .coordinator import Ordered, Run
from .reference import ReferenceLM

Orders = Callable[..., Ordered]

JOBS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "multiple choice, few-shot": (("sums",), {}),
    "every kind at once": (("sums", "generated", "prose", "greedy"), {}),
    "a group and its aggregate": (("all_sums",), {}),
    "groups in groups": (("everything",), {}),
    "a tag": (("arithmetic",), {}),
    "a pattern": (("m*", "greedy"), {}),
    "mutual information": (("mutual",), {}),
    "few-shot overridden": (("sums", "more_sums", "generated"), {"num_fewshot": 3}),
    "a limit": (("sums", "generated"), {"limit": 5}),
    "a fractional limit": (("sums", "prose"), {"limit": 0.3}),
    "samples": (("sums", "greedy"), {"samples": {"sums": [1, 4, 7]}}),
    "generation settings": (("generated", "sums"), {"gen_kwargs": {"max_gen_toks": 8, "top_p": 0.5}}),
    "a chat template": (("sums", "generated"), {"apply_chat_template": True, "num_fewshot": 2}),
    "one turn for all examples": (
        ("sums", "generated"),
        {"apply_chat_template": True, "fewshot_as_multiturn": False, "system_instruction": "Be brief."},
    ),
    "a system instruction": (("generated",), {"system_instruction": "Be brief."}),
    "answers only": (("sums", "generated"), {"predict_only": True}),
    "other seeds": (("sums", "generated"), {"seed": [1, 2, 3, 4]}),
    "no bootstrap": (("sums", "prose"), {"bootstrap_iters": 0}),
    "tasks that draw while scoring": (("lottery", "sums", "raffle"), {}),
    "metadata": (("sums",), {"metadata": {"lengths": [1, 2]}}),
}


@pytest.mark.parametrize("name", JOBS)
def test_results_and_samples_are_those_of_lm_eval(name: str, order: Orders, tmp_path: Path) -> None:
    names, spec = JOBS[name]
    job = order(*names, **spec)
    run = Run().serve(job)
    expected, lines = reference.run(
        _expanded(job), tmp_path / "reference", ReferenceLM(job.model, MAX_LENGTH)
    )

    assert run.status == 0
    assert reference.comparable(run.document) == reference.comparable(expected)
    assert {task: run.rows(task) for task in lines} == lines


def test_the_document_has_the_keys_of_lm_eval_in_their_order(order: Orders, tmp_path: Path) -> None:
    job = order("sums")
    run = Run().serve(job)
    expected, _ = reference.run(job, tmp_path / "reference", ReferenceLM(job.model, MAX_LENGTH))

    assert list(run.document) == list(expected)
    config = {key for key in run.document["config"] if not key.startswith("model_")} | {"model_args"}
    assert config == expected["config"].keys()


def test_the_document_says_what_the_engine_said_of_itself(order: Orders) -> None:
    facts = {
        "environment": "PyTorch version: 2.13.0",
        "versions": {"lm_eval": "0.4.13", "transformers": "5.0"},
        "parameters": 125120,
        "dtype": "bfloat16",
        "device": "cuda:0",
    }
    document = Run(facts=facts).serve(order("sums", engine_args={"peft": "a/b"}, limit=2)).document

    model = {name: value for name, value in document["config"].items() if name not in {"model", "model_args"}}
    assert {name: model[name] for name in model if name.startswith("model_")} == {
        "model_num_parameters": 125120,
        "model_dtype": "torch.bfloat16",
        "model_revision": "main",
        "model_sha": "",
    }
    assert (model["peft_sha"], model["device"], model["batch_size"], model["limit"]) == (
        "",
        "cuda:0",
        "4",
        2.0,
    )
    assert document["pretty_env_info"] == facts["environment"]
    assert document["transformers_version"] == "5.0"
    assert document["git_hash"] is document["upper_git_hash"] is None


def test_what_no_engine_said_is_null(order: Orders) -> None:
    document = Run().serve(order("sums", limit=2)).document

    assert document["config"]["model_num_parameters"] is document["config"]["model_dtype"] is None
    assert document["pretty_env_info"] is document["config"]["device"] is None
    assert document["lm_eval_version"] == "0.4.13"


def test_a_tokenizer_that_adds_bos_gives_the_same_results(
    order: Orders, bos_model: Path, tmp_path: Path
) -> None:
    job = order("sums", "prose", "generated", "mutual", apply_chat_template=True)
    job.model = bos_model
    run = Run().serve(job)
    expected, lines = reference.run(job, tmp_path / "reference", ReferenceLM(bos_model, MAX_LENGTH))

    assert reference.comparable(run.document) == reference.comparable(expected)
    assert {task: run.rows(task) for task in lines} == lines


def test_a_job_tells_its_phases_and_totals_in_order(order: Orders) -> None:
    run = Run().serve(order("sums", "prose"))

    kinds = [type(message) for message in run.messages]
    places = [kinds.index(kind) for kind in (Prepared, LookUp, ChunkCut, AllCut, ScoringBegun, TellFacts)]
    assert places == sorted(places)
    assert kinds[-1] is Results
    totals = dict(run.one(Prepared).totals)
    assert totals["sums"] == 12 * 3
    assert totals["prose"] > 12, "long texts have several windows"
    assert sum(totals.values()) == sum(len(chunk.keys) for chunk in run.of(ChunkCut))


@pytest.mark.parametrize(("backend", "beside"), [("hf", -1), ("vllm", 1)])
def test_how_long_requests_are_is_told_when_all_are_cut(order: Orders, backend: str, beside: int) -> None:
    job = order("sums", "generated", "prose")
    job.backend = backend
    run = Run().serve(job)

    told, sent = Counter(dict(run.one(AllCut).lengths)), Counter[int]()
    chunks = [chunk for chunk in run.of(ChunkCut) if chunk.kind is not RequestKind.ROLLING]
    for chunk in chunks:
        if chunk.kind is RequestKind.LOGLIKELIHOOD:
            sent.update(len(pair[0]) + len(pair[1]) + beside for pair in unpack_requests(chunk.payload))
    assert sent
    assert sent <= told
    assert told.total() == sum(len(chunk.keys) for chunk in chunks), (
        "a window of a rolling text is cut by its length"
    )


def test_a_finished_task_is_told_with_its_metrics(order: Orders) -> None:
    run = Run().serve(order("sums", "generated"))

    metrics = {finished.task: json.loads(finished.metrics) for finished in run.of(TaskFinished)}
    assert metrics == run.document["results"]


def test_a_second_run_finds_every_answer(order: Orders) -> None:
    first = Run().serve(order("sums", "prose", "generated"))
    second = Run(store=dict(first.store)).serve(order("sums", "prose", "generated"))

    assert second.of(ChunkCut) == []
    assert second.document["results"] == first.document["results"]


def test_a_larger_limit_asks_only_for_the_new_documents(order: Orders) -> None:
    first = Run().serve(order("sums", limit=4))
    second = Run(store=dict(first.store)).serve(order("sums"))

    assert sum(len(chunk.keys) for chunk in second.of(ChunkCut)) == (12 - 4) * 3
    assert second.document["results"] == Run().serve(order("sums")).document["results"]


def test_requests_in_stored_chunks_are_not_cut_again(order: Orders) -> None:
    first = Run().serve(order("sums", "generated"))
    half = len(first.store) // 2
    kept = list(first.store.items())
    second = Run(store=dict(kept[:half]), pending=dict(kept[half:])).serve(order("sums", "generated"))

    assert second.of(ChunkCut) == []
    assert second.document["results"] == first.document["results"]


def test_an_interrupted_job_gets_the_chunks_it_had_left(order: Orders) -> None:
    first = Run().serve(order("sums", "generated", batch_size=2))
    answered, *left = first.of(ChunkCut)
    store = {key: first.store[key] for key in answered.keys}
    second = Run(store=store).serve(order("sums", "generated", batch_size=2))

    assert second.of(ChunkCut) == left


def test_a_salt_keeps_a_job_from_old_answers(order: Orders) -> None:
    first = Run().serve(order("sums"))
    again = order("sums")
    again.salt = "job-2"
    second = Run(store=dict(first.store)).serve(again)

    assert len(second.of(ChunkCut)) == len(first.of(ChunkCut))


def test_sampled_answers_serve_their_own_job_only(order: Orders) -> None:
    first = Run().serve(order("sampled"))
    other = order("sampled")
    other.job_id = "job-2"

    assert Run(store=dict(first.store)).serve(order("sampled")).of(ChunkCut) == []
    assert Run(store=dict(first.store)).serve(other).of(ChunkCut) != []
    assert all(isinstance(chunk.seed, int) for chunk in first.of(ChunkCut))


@pytest.mark.parametrize(("seed", "alike"), [([9, 9, 7, 9], True), ([0, 1234, 8, 1234], False)])
def test_samples_follow_the_seed_that_lm_eval_gives_torch(
    order: Orders, seed: list[int], alike: bool
) -> None:
    first, second = (
        {chunk.seed for chunk in Run().serve(order("sampled", seed=given)).of(ChunkCut)}
        for given in ([0, 1234, 7, 1234], seed)
    )

    assert len(first) == len(second) == 1
    assert (first == second) is alike


def test_without_a_seed_every_job_has_samples_of_its_own(order: Orders) -> None:
    one, other = (order("sampled", seed=[None] * 4) for _ in range(2))
    other.job_id = "job-2"
    seeds = [{chunk.seed for chunk in Run().serve(job).of(ChunkCut)} for job in (one, one, other)]

    assert seeds[0] == seeds[1] != seeds[2]


def test_what_is_drawn_is_named_by_the_prompt_and_its_time_in_the_task(order: Orders) -> None:
    job = order("sampled")
    again = order("sampled", batch_size=1, gen_kwargs={"temperature": 1})
    crowded = order("sampled_too", "sampled", limit=4)
    again.job_id = "job-2"
    yaml = (job.folder / "sampled.yaml").read_text() + "repeats: 3\n"
    (job.folder / "sampled.yaml").write_text(yaml)
    (job.folder / "sampled_too.yaml").write_text(yaml.replace("task: sampled", "task: sampled_too"))
    drawn, elsewhere, few = (_drawn(Run().serve(given)) for given in (job, again, crowded))

    assert drawn == elsewhere
    assert all(len(draws) == 3 for draws in drawn.values())
    assert few.items() <= drawn.items()
    assert len(few) == 4


def _drawn(run: Run) -> dict[str, set[bytes]]:
    """By text, what names its samples to an engine."""
    draws: dict[str, set[bytes]] = {}
    for chunk in run.of(ChunkCut):
        for text, key in zip(unpack_requests(chunk.payload), chunk.keys, strict=True):
            draws.setdefault(text, set()).add(key[:DRAW_BYTES])
    return draws


@pytest.mark.parametrize("asked", [None, True, False])
@pytest.mark.parametrize("temperature", [{}, {"temperature": 0}, {"temperature": 0.5}])
def test_what_is_sampled_is_what_lm_eval_samples(asked: bool | None, temperature: dict[str, float]) -> None:
    settings = {"do_sample": asked} | temperature

    assert HFLMRules.is_sampled(settings) == normalize_gen_kwargs(dict(settings))["do_sample"]
    assert HFLMRules.is_sampled(temperature) == normalize_gen_kwargs(dict(temperature))["do_sample"]


def test_a_question_of_two_tasks_is_one_request_of_both(order: Orders) -> None:
    job = order("sums", "more_sums", num_fewshot=0)
    sums = job.folder / "sums.yaml"
    sums.write_text(sums.read_text().replace("num_fewshot: 2", "num_fewshot: 0"))
    run = Run().serve(job)

    assert [total for _, total in run.one(Prepared).totals] == [36, 36]
    assert sum(len(chunk.keys) for chunk in run.of(ChunkCut)) == 36


def test_equal_prompts_of_two_documents_are_two_requests_as_in_a_batch(order: Orders) -> None:
    job = order("generated")
    write_data(job.folder / "test.jsonl", documents(4) * 2)
    run = Run().serve(job)

    assert run.one(Prepared).totals == (("generated", 4 * 2 * 2),)


def test_where_less_is_better_samples_without_it_are_right(order: Orders) -> None:
    (some,) = Run().serve(order("slips")).of(SampleRows)

    told = {json.loads(row.line)["slip"]: row.correct for row in some.rows}
    assert told == {1.0: False, 0.0: True}


@pytest.mark.parametrize("numbers", [[7, 1, 4], [4, 1, 1, 7, 4], [11, 0]])
def test_chosen_documents_keep_their_own_numbers(order: Orders, numbers: list[int]) -> None:
    run = Run().serve(order("sums", "greedy", samples={"sums": numbers}))

    rows = [json.loads(row) for row in run.rows("sums")]
    assert [(row["doc_id"], row["doc"]) for row in rows] == [
        (number, documents(12)[number]) for number in sorted(set(numbers))
    ]
    rising = Run().serve(order("sums", "greedy", samples={"sums": sorted(set(numbers))}))
    assert run.document["results"] == rising.document["results"]
    assert run.rows("sums") == rising.rows("sums")


def test_samples_stay_away_where_nobody_wants_them(order: Orders) -> None:
    run = Run().serve(order("sums", log_samples=False))

    assert run.of(SampleRows) == []
    assert run.document["task_hashes"] == {}


def _expanded(job: Ordered) -> Ordered:
    """Patterns are resolved by lm-eval's command line, not by simple_evaluate."""
    names = [match for name in job.names for match in (["more_sums", "mutual"] if name == "m*" else [name])]
    return Ordered(**(vars(job) | {"names": names}))


def test_provenance_is_plain_json(order: Orders) -> None:
    prepared = Run().serve(order("sums", apply_chat_template=True)).one(Prepared)

    assert json.loads(json.dumps(prepared.provenance)) == prepared.provenance
    assert prepared.provenance["tasks"]["sums"]["dataset_fingerprints"].keys() == {"train", "test"}
    assert prepared.provenance["chat_template_sha256"]
    assert len(prepared.fingerprint) == 32
