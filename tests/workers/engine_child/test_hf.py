"""The hf engine through its real child process, against one HFLM call on the whole list."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import AutoTokenizer

from app.settings import Settings
from tests.tiny_models import tiny_gguf
from workers.harness_child.lm_eval.cutting import Pair, Prompt, cut_loglikelihoods, cut_prompts, cut_windows
from workers.protocol.engine import Answered, ChunkFailed, Drop, FromEngine, LoadFailed, Progressed, Warned
from workers.protocol.payload import EndedBy

from .conftest import Reference
from .prompts import GREEDY, sums
from .supervisor import PATIENCE_SECONDS, Supervisor, engine_child, notes, values

MAX_LENGTH = 512
LONG = {"until": ["\x01"], "do_sample": False, "max_gen_toks": 300, "min_new_tokens": 300}
STARVED = Path(__file__).with_name("starved.py")


@pytest.fixture(scope="module")
def encode(model: Path) -> Any:
    return AutoTokenizer.from_pretrained(model).encode


def requests_of(rng: random.Random, encode: Any) -> list[list[list[int]]]:
    """300 requests: multiple choices that share a context, of one token and of many, and a few repeated."""
    pairs: list[list[list[int]]] = []
    for number, text in enumerate(sums(rng, 75)):
        context = encode(text)
        letters = rng.sample(range(2, 390), 4)
        words = [encode(f" {rng.randint(0, 10 ** rng.randint(1, 6))} apples")[1:] for _ in range(4)]
        pairs += [
            [context, [letter] if number % 2 else word] for letter, word in zip(letters, words, strict=True)
        ]
    pairs = pairs[:290]
    return pairs + pairs[:10]


def changes(told: Sequence[FromEngine]) -> list[str]:
    """What was changed, by the warnings among them."""
    return [message.change for message in told if isinstance(message, Warned)]


def ask_in_chunks(
    engine: Supervisor, kind: str, requests: Sequence[Any], cuts: Any, **settings: Any
) -> list[Any]:
    """All chunks sent ahead, answers put back in the order of the requests."""
    assert len(cuts) > 2
    responses: list[Any] = [None] * len(requests)
    for cut in cuts:
        engine.send_chunk(kind, [requests[position] for position in cut.positions], **settings)
    for cut in cuts:
        answered = engine.answered()
        assert answered.batch_size == settings["batch_size"]
        for position, response in zip(cut.positions, values(answered), strict=True):
            responses[position] = response
    return responses


def as_pairs(requests: Sequence[Any]) -> list[Pair]:
    return [Pair(array("I", context), array("I", continuation)) for context, continuation in requests]


@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_loglikelihoods_in_chunks_are_those_of_the_whole_list_to_the_last_bit(
    engine: Supervisor, reference: Reference, encode: Any, batch_size: int
) -> None:
    requests = requests_of(random.Random(1), encode)
    assert len(requests) == 300
    cuts = cut_loglikelihoods(as_pairs(requests), batch_size, grouped=True)
    responses = ask_in_chunks(engine, "loglikelihood", requests, cuts, batch_size=batch_size)
    assert responses == reference("loglikelihood", requests, batch_size)


def test_rolling_windows_in_chunks_sum_to_those_of_the_whole_list(
    engine: Supervisor, reference: Reference, encode: Any
) -> None:
    rng = random.Random(2)
    texts = [" ".join(sums(rng, rng.randint(1, 40))) for _ in range(12)]
    windows: list[list[list[int]]] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        cut = get_rolling_token_windows(encode(text), encode("")[0], MAX_LENGTH, context_len=1)
        windows += [list(make_disjoint_window(window)) for window in cut]
        owners += [number] * (len(windows) - len(owners))
    assert len(windows) > len(texts)
    cuts = cut_windows(as_pairs(windows), 4)
    responses = ask_in_chunks(engine, "loglikelihood_rolling", windows, cuts, batch_size=4)
    totals = [
        sum(response[0] for response, owner in zip(responses, owners, strict=True) if owner == number)
        for number in range(len(texts))
    ]
    assert totals == reference("loglikelihood_rolling", texts, 4)


def test_generations_in_chunks_are_those_of_the_whole_list(
    engine: Supervisor, reference: Reference, encode: Any
) -> None:
    texts = sums(random.Random(3), 60)
    prompts = [Prompt(text, len(encode(text)), GREEDY, len(encode(text)) + 12) for text in texts]
    cuts = cut_prompts(prompts, 6)
    responses = ask_in_chunks(engine, "generate_until", texts, cuts, batch_size=6, gen_kwargs=GREEDY)
    assert responses == reference("generate_until", texts, 6)
    assert len(set(responses)) > 5


def test_tokens_are_counted(engine: Supervisor, encode: Any) -> None:
    answer = engine.ask("loglikelihood", [[[0, 5, 6], [7]], [[0, 5], [7, 8, 9]]])
    assert answer.tokens == 9
    text = "Question: What is 1 + 1?\nAnswer:"
    answer = engine.ask("generate_until", [text], gen_kwargs=GREEDY)
    assert 1 <= answer.tokens - len(encode(text)) <= 13


@pytest.mark.parametrize("asked", ["auto", "auto:4"])
def test_an_automatic_batch_size_is_chosen_once_and_kept(engine: Supervisor, asked: str) -> None:
    requests = [[[0] * 20, [n]] for n in range(2, 12)]
    sizes = {engine.ask("loglikelihood", requests, batch_size=asked).batch_size for _ in range(3)}
    assert len(sizes) == 1
    assert 1 <= sizes.pop() <= 64
    generated = engine.ask("generate_until", ["Answer:"] * 3, batch_size=asked, gen_kwargs=GREEDY)
    assert 1 <= generated.batch_size <= 64


def test_provenance_says_what_answered(engine: Supervisor) -> None:
    provenance = engine.provenance
    assert provenance["versions"]["lm_eval"] == "0.4.13"
    assert provenance["dtype"] == provenance["softmax_dtype"] == "float32"
    assert provenance["environment"].startswith("PyTorch version: "), "as lm-eval has it"
    assert (provenance["max_length"], provenance["device"], provenance["threads"]) == (MAX_LENGTH, "cpu", 1)


def test_a_bad_request_fails_its_chunk_and_the_engine_goes_on(engine: Supervisor) -> None:
    engine.send_chunk("loglikelihood", [[[1], []]])
    assert engine.failed().error.type == "AssertionError"
    engine.ask("loglikelihood", [[[1], [2]]])


def test_when_memory_runs_out_batches_are_halved_and_stay_so(python: Path, model: Path) -> None:
    """Rows are 64 tokens long and 300 tokens fit: batches of 16 and 8 do not, 4 rows do."""
    requests = [[[5] * 64, [n]] for n in range(2, 4)] + [[[n] * 64, [5]] for n in range(6, 20)]
    with engine_child(python, STARVED, TOKENS_THAT_FIT="300") as engine:
        engine.load("hf", str(model))
        engine.send_chunk("loglikelihood", requests, batch_size=16)
        answered, before = engine.settle()
        assert changes(before) == ["batch size 16 -> 8", "batch size 8 -> 4"]
        assert isinstance(answered, Answered)
        assert answered.batch_size == 4
        assert answered.responses == engine.ask("loglikelihood", requests, batch_size=4).responses

        engine.send_chunk("loglikelihood", requests, batch_size=16)
        answered, before = engine.settle()
        assert changes(before) == []
        assert isinstance(answered, Answered)
        assert answered.batch_size == 4
        assert engine.ask("loglikelihood", [[[5] * 10, [6]]], batch_size=16).batch_size == 16

        engine.send_chunk("loglikelihood", [[[5] * 400, [6]]], batch_size=2)
        failed, before = engine.settle()
        assert changes(before) == ["batch size 2 -> 1"]
        assert isinstance(failed, ChunkFailed)
        assert failed.error.type == "torch.OutOfMemoryError"
        engine.ask("loglikelihood", [[[5] * 10, [6]]])


def test_a_missing_model_is_told_before_the_child_ends(python: Path, tmp_path: Path) -> None:
    with engine_child(python) as engine:
        failed = engine.load("hf", str(tmp_path / "nothing"))
        assert isinstance(failed, LoadFailed)
        assert "nothing" in failed.error.message
        assert engine.process.wait(PATIENCE_SECONDS) == 1


@pytest.mark.parametrize("switch", ["load_in_8bit", "load_in_4bit"])
def test_weights_are_quantized_where_the_arguments_ask_for_it(python: Path, model: Path, switch: str) -> None:
    with engine_child(python) as supervisor:
        loaded = supervisor.loaded("hf", str(model), **{switch: True})
    assert loaded.provenance["quantization"][switch] is True


def test_a_gguf_file_is_taken_from_the_model_alone(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny_gguf(Settings().cache_dir)
    (tmp_path / file.name).write_bytes(b"of the current folder")
    monkeypatch.chdir(tmp_path)
    with engine_child(python) as supervisor:
        loaded = supervisor.loaded(
            "hf", str(file.parents[1]), subfolder=file.parent.name, gguf_file=file.name
        )
    assert (loaded.provenance["parameters"], loaded.provenance["dtype"]) == (125120, "float32")


def test_a_single_long_generation_tells_its_tokens(engine: Supervisor) -> None:
    engine.send_chunk("generate_until", ["Question:"], gen_kwargs=LONG)
    answered, before = engine.settle()
    assert isinstance(answered, Answered)
    told = [message for message in before if isinstance(message, Progressed)]
    assert told
    assert all(message.tokens > 0 for message in told)
    assert not any(count for message in told[:-1] for _, count in message.answered)


def test_a_generation_is_dropped_in_its_midst(engine: Supervisor) -> None:
    dropped = engine.send_chunk("generate_until", ["Question:"] * 2000, batch_size=1, gen_kwargs=LONG)
    while not isinstance(engine.receive(), Progressed):
        pass
    engine.wire.send(Drop((dropped,)))
    assert engine.ask("loglikelihood", [[[1], [2]]]).tokens == 2


@pytest.mark.parametrize("batch_size", [1, 6])
def test_each_text_says_why_it_ends(engine: Supervisor, batch_size: int) -> None:
    texts = sums(random.Random(4), 40)

    def ask(most: int, until: str) -> Answered:
        settings = {"until": [until], "do_sample": False, "max_gen_toks": most}
        return engine.ask("generate_until", texts, batch_size=batch_size, gen_kwargs=settings)

    less, some = (values(ask(most, "\x01")) for most in (5, 6))
    expected = [
        EndedBy.STOP if "3" in text else EndedBy.EOS if text == shorter else EndedBy.LENGTH
        for shorter, text in zip(less, some, strict=True)
    ]
    answered = ask(6, "3")
    assert [note.ended_by for note in notes(answered)] == expected
    assert values(answered) == [text.split("3")[0] for text in some]
    assert len(set(expected)) > 1, "the model makes texts of one kind alone"


def test_what_is_cut_off_a_prompt_is_told_to_the_token(engine: Supervisor, encode: Any) -> None:
    asked = engine.ask("loglikelihood", [[[5] * length, [6, 7]] for length in (1, 510, 511, 512, 600)])
    assert [note.cut for note in notes(asked)] == [0, 0, 0, 1, 89]
    assert {note.ended_by for note in notes(asked)} == {None}
    texts = ["Answer:" * count for count in range(240, 260)]
    lengths = [len(encode(text)) for text in texts]
    room = MAX_LENGTH - 12
    answered = engine.ask("generate_until", texts, gen_kwargs=GREEDY)
    assert [note.cut for note in notes(answered)] == [max(0, length - room) for length in lengths]
    assert min(lengths) < room < max(lengths)
