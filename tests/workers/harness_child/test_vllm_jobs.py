"""A job of vLLM, as the harness child prepares and reports it; `test_vllm_class.py` holds the prompts to lm-eval's."""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.engine_spec import EngineSpec
from workers.harness_child.lm_eval import cutting
from workers.protocol.engine import ScoringMode
from workers.protocol.harness import ChunkCut, EngineSettled, LookUp, Prepared
from workers.protocol.payload import RequestKind, unpack_requests

from .conftest import MAX_LENGTH
from .coordinator import Ordered, Run, message

Orders = Callable[..., Ordered]

GREEDY_BY_DEFAULT = "generated greedily"


@pytest.fixture
def vllm(order: Orders) -> Orders:
    """Makes orders of jobs for vLLM."""

    def make(*names: str, **given: Any) -> Ordered:
        job = order(*names, **given)
        job.backend = "vllm"
        return job

    return make


def keys(run: Run) -> set[bytes]:
    return {key for asked in run.of(LookUp) for key in asked.keys}


def args(run: Run) -> dict[str, Any]:
    return dict(run.one(EngineSettled).args) if run.of(EngineSettled) else {}


def changed(job: Ordered, task: str, *edits: tuple[str, str]) -> Ordered:
    path = job.folder / f"{task}.yaml"
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return job


def test_the_engine_is_told_the_length_that_its_prompts_were_cut_for(vllm: Orders) -> None:
    assert args(Run().serve(vllm("sums"))) == {"max_model_len": MAX_LENGTH}
    assert args(Run().serve(vllm("sums", engine_args={"max_length": 99}))) == {"max_model_len": 99}


def test_what_was_told_once_is_not_told_again(vllm: Orders) -> None:
    for length in (99, MAX_LENGTH):
        assert Run().serve(vllm("sums", engine_args={"max_model_len": length})).of(EngineSettled) == []


def test_jobs_of_the_models_own_length_share_an_engine_and_its_answers(vllm: Orders) -> None:
    said = [{}, {"max_model_len": MAX_LENGTH}, {"max_length": MAX_LENGTH}, {"max_model_len": 100}]
    runs = [(given, Run().serve(vllm("sums", engine_args=given))) for given in said]
    prints = [run.one(Prepared).fingerprint for _, run in runs]
    engines = [EngineSpec("vllm", "m", args=args(run) or given).key for given, run in runs]

    assert prints[0] == prints[1] == prints[2] != prints[3]
    assert engines[0] == engines[1] == engines[2] != engines[3]


@pytest.mark.parametrize(
    "given",
    [
        {"enable_thinking": False},
        {"chat_template_args": {"mood": "good"}},
        {"tokenizer_mode": "hf"},
        {"dtype": "auto", "max_gen_toks": 256, "truncation_side": "left", "trust_remote_code": False},
        {"quantization": None},
        {"max_num_seqs": 8, "gpu_memory_utilization": 0.5},
    ],
)
def test_what_no_answer_depends_on_makes_no_other_answers(vllm: Orders, given: dict[str, Any]) -> None:
    plain, more = (Run().serve(vllm("generated", limit=1, engine_args=some)) for some in ({}, given))
    assert more.one(Prepared).fingerprint == plain.one(Prepared).fingerprint


@pytest.mark.parametrize(
    "given",
    [
        {"dtype": "float32"},
        {"add_bos_token": True},
        {"prefix_token_id": 7},
        {"max_gen_toks": 5},
        {"truncation_side": "right"},
        {"think_end_token": "</s>"},
        {"quantization": "awq"},
        {"enforce_eager": True},
        {"seed": None, "kv_cache_dtype": "fp8"},
    ],
)
def test_what_an_answer_depends_on_makes_other_answers(vllm: Orders, given: dict[str, Any]) -> None:
    plain, more = (Run().serve(vllm("generated", limit=1, engine_args=some)) for some in ({}, given))
    assert more.one(Prepared).fingerprint != plain.one(Prepared).fingerprint


def test_a_tokenizer_counts_by_its_content(
    vllm: Orders, model: Path, bos_model: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    plain, same, other = (
        Run().serve(vllm("sums", limit=1, engine_args=given))
        for given in ({}, {"tokenizer": str(copy)}, {"tokenizer": str(bos_model)})
    )
    assert same.one(Prepared).fingerprint == plain.one(Prepared).fingerprint
    assert other.one(Prepared).fingerprint != plain.one(Prepared).fingerprint
    assert other.one(Prepared).provenance["tokenizer"] != plain.one(Prepared).provenance["tokenizer"]


def test_a_batch_size_changes_neither_requests_nor_chunks(vllm: Orders) -> None:
    runs = [Run().serve(vllm("sums", "generated", "prose", batch_size=size)) for size in (1, 7, "auto:3")]
    cuts = [[(chunk.keys, chunk.payload) for chunk in run.of(ChunkCut)] for run in runs]

    assert cuts[0] == cuts[1] == cuts[2]
    assert len({run.one(Prepared).fingerprint for run in runs}) == 1


def test_equal_requests_are_asked_once_unless_they_are_drawn(vllm: Orders) -> None:
    greedy, drawn = Run().serve(vllm("generated")), vllm("sampled")
    assert len(keys(greedy)) == 12, "of two repeats"
    path = drawn.folder / "sampled.yaml"
    path.write_text(path.read_text() + "\nrepeats: 2\n")
    assert len(keys(Run().serve(drawn))) == 24


def test_prompts_are_sent_as_tokens_and_never_cut(vllm: Orders) -> None:
    run = Run().serve(vllm("generated", num_fewshot=8))
    sent = [tokens for chunk in run.of(ChunkCut) for tokens in unpack_requests(chunk.payload)]
    assert max(map(len, sent)) > MAX_LENGTH


def test_a_continuation_of_no_tokens_is_answered_without_an_engine(vllm: Orders) -> None:
    job = changed(vllm("greedy"), "greedy", ('" {{sum}}"', '""'))
    run = Run().serve(job)

    assert run.of(ChunkCut) == []
    assert [json.loads(row)["resps"] for row in run.rows("greedy")] == [[[["0", "True"]]]] * 12


def test_a_pair_that_does_not_fit_fails_its_document_alone(vllm: Orders) -> None:
    def continuations(run: Run) -> set[int]:
        pairs = [pair for chunk in run.of(ChunkCut) for pair in unpack_requests(chunk.payload)]
        return {len(continuation) for _, continuation in pairs}

    job = changed(vllm("greedy", engine_args={"max_model_len": 9999}), "greedy", ("{{sum}}", "{{text}}"))
    lengths = sorted(continuations(Run().serve(job)))
    assert len(lengths) > 1
    run = Run().serve(vllm("greedy", engine_args={"max_model_len": lengths[0] + 2}))

    assert continuations(run) == {lengths[0]}
    (warning,) = run.document["warnings"]
    assert f"a continuation of {lengths[1]} tokens exceeds max_length {lengths[0] + 2}" in warning


def test_a_text_of_no_tokens_scores_nothing(vllm: Orders) -> None:
    run = Run().serve(changed(vllm("prose"), "prose", ('"{{text}}"', '""')))
    assert run.of(ChunkCut) == []


@pytest.mark.parametrize("length", [1, 2])
def test_a_length_that_holds_no_window_is_told(vllm: Orders, length: int) -> None:
    run = Run().serve(vllm("prose", engine_args={"max_model_len": length}))
    assert f"max_length {length} holds no window" in run.fault_of_the_job.message


def silent(job: Ordered) -> Ordered:
    """The task says neither how to draw nor how hot."""
    return changed(job, "generated", ("  do_sample: false\n", ""), ("  temperature: 0.0\n", ""))


def test_a_task_that_says_neither_is_greedy_and_that_is_noted(vllm: Orders) -> None:
    first, second = silent(vllm("generated", "sums")), vllm("generated", "sums")
    second.job_id = "job-2"
    run, other = Run().serve(first), Run().serve(second)

    assert keys(run) == keys(other), "an answer of one job serves the other"
    assert {chunk.seed for chunk in run.of(ChunkCut)} == {None}
    known = run.one(Prepared).provenance["tasks"]
    assert [known[name].get("greedy_by_default") for name in ("generated", "sums")] == [True, None]
    (warning,) = run.document["warnings"]
    assert warning.startswith("generated: ")
    assert GREEDY_BY_DEFAULT in warning


@pytest.mark.parametrize("said", [{"temperature": 0.0}, {"do_sample": False}, {"temperature": 0.5}])
def test_what_is_said_needs_no_note(vllm: Orders, said: dict[str, Any]) -> None:
    run = Run().serve(silent(vllm("generated", gen_kwargs=said)))
    assert "warnings" not in run.document
    assert {chunk.seed is None for chunk in run.of(ChunkCut)} == {not said.get("temperature")}


def test_hf_is_greedy_by_itself(order: Orders) -> None:
    run = Run().serve(silent(order("generated")))
    assert "warnings" not in run.document
    assert "greedy_by_default" not in run.one(Prepared).provenance["tasks"]["generated"]


def test_thinking_is_for_what_is_generated(vllm: Orders) -> None:
    thinking = {"enable_thinking": True, "think_end_token": "</s>"}
    run = Run().serve(vllm("sums", "prose", "generated", engine_args=thinking))
    assert run.failures == {"sums": "task_error"}
    assert "generative tasks only" in message(run, "sums")


def test_the_end_of_thinking_may_be_said_by_its_token(vllm: Orders) -> None:
    run = Run().serve(vllm("generated", limit=1, engine_args={"think_end_token": 1}))
    assert args(run)["think_end_token"] == "</s>"


@pytest.mark.parametrize(
    ("asked", "engine", "told"),
    [
        ({}, {}, {}),
        ({}, {"max_model_len": MAX_LENGTH}, {}),
        ({}, {"max_model_len": 100}, {"max_model_len": 100}),
        ({"max_model_len": MAX_LENGTH}, {"max_model_len": MAX_LENGTH}, {"max_model_len": MAX_LENGTH}),
        ({"max_length": 99}, {"max_length": 99}, {"max_length": 99}),
        ({"max_length": 99}, {"max_model_len": 99}, {"max_length": 99}),
        ({"max_length": 99}, {"max_model_len": 64}, {"max_length": 64}),
    ],
    ids=["own", "own, resolved", "cured", "said", "other name", "other name, resolved", "other name, cured"],
)
def test_a_document_tells_a_length_that_is_not_the_models_own(
    vllm: Orders, asked: dict[str, Any], engine: dict[str, Any], told: dict[str, Any]
) -> None:
    job = vllm("sums", limit=1, engine_args=engine)
    job.spec["model_args"] = {"pretrained": str(job.model), **asked}
    run = Run().serve(job)

    assert run.document["config"]["model_args"] == {"pretrained": str(job.model), **told}
    assert "model_dtype" not in run.document["config"], "lm-eval's class says nothing of its model"
    assert run.document["max_length"] == (told.get("max_length") or told.get("max_model_len") or MAX_LENGTH)


def test_choices_of_a_context_stay_in_one_chunk_which_is_bounded(
    vllm: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.harness_child.lm_eval.cutting.STREAMED", 4)
    monkeypatch.setattr("workers.harness_child.lm_eval.chunking.STREAMED", 4)
    run = Run().serve(vllm("sums", "generated", num_fewshot=0))
    cuts = [unpack_requests(chunk.payload) for chunk in run.of(ChunkCut)]
    scored = [
        cut
        for cut, chunk in zip(cuts, run.of(ChunkCut), strict=True)
        if chunk.kind is RequestKind.LOGLIKELIHOOD
    ]

    contexts = [{tuple(context) for context, _ in cut} for cut in scored]
    assert sum(map(len, contexts)) == len(set().union(*contexts)) == 12
    assert {len(cut) for cut in scored} == {6}, "3 choices, and 3 more to be no fewer than 4"
    assert {len(cut) for cut in cuts if cut not in scored} == {4}


@pytest.mark.parametrize("backend", ["vllm", "hf"])
def test_what_is_scored_fast_is_cut_by_context_and_sent_in_the_order_of_tokens(
    vllm: Orders, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr("workers.harness_child.lm_eval.cutting.STREAMED", 4)
    monkeypatch.setattr("workers.harness_child.lm_eval.chunking.STREAMED", 4)
    job = vllm("sums", "generated", num_fewshot=1)
    job.backend = backend
    stock = Run().serve(job)
    job.scoring_mode = ScoringMode.FAST
    run = Run().serve(job)
    chunks = [chunk for chunk in run.of(ChunkCut) if chunk.kind is RequestKind.LOGLIKELIHOOD]
    scored = [unpack_requests(chunk.payload) for chunk in chunks]

    contexts = [{tuple(context) for context, _ in cut} for cut in scored]
    assert sum(map(len, contexts)) == len(set().union(*contexts)) == 12
    asked = [pair for cut in scored for pair in cut]
    assert asked == sorted(asked)
    assert keys(run) == keys(stock)
    assert run.one(Prepared).fingerprint != stock.one(Prepared).fingerprint
    told = [each.one(Prepared).provenance["scoring_mode"] for each in (stock, run)]
    assert told == ["stock", "fast"]
    assert list(run.rows("sums")) == list(stock.rows("sums"))


def test_what_neighbours_share_costs_once() -> None:
    few = [1, 2, 3, 4]
    pairs = [
        cutting.Pair(array("I", [*few, *own]), array("I", last))
        for own in ([7, 8], [7, 9], [5])
        for last in ([9], [8, 8])
    ]
    (cut,) = cutting.cut_by_tokens(pairs, None)
    assert cut == cutting.Cut([5, 4, 1, 0, 3, 2], 5 + 3 + 2 + 3 + 1 + 3)


def test_the_longest_contexts_are_first() -> None:
    pairs = [cutting.Pair(array("I", range(n)), array("I", [last])) for n in (1, 5, 3) for last in (8, 9)]
    (cut,) = cutting.cut_contexts(pairs)
    assert cut == cutting.Cut([2, 3, 4, 5, 0, 1], 24.0)
