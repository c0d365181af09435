"""The hf engine through its real child process, against one HFLM call on the whole list."""

from __future__ import annotations

import os
import random
import subprocess
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import AutoTokenizer

from app.settings import Settings
from tests.models import tiny_gguf
from workers.harness_child.cutting import Pair, Prompt, cut_loglikelihoods, cut_prompts, cut_windows

from .supervisor import PATIENCE_SECONDS, Supervisor, engine_child

MAX_LENGTH = 512
REFERENCE = Path(__file__).with_name("reference.py")
STARVED = Path(__file__).with_name("starved.py")
SEQ2SEQ = Path(__file__).with_name("seq2seq.py")
GREEDY = {"until": ["\n"], "do_sample": False, "max_gen_toks": 12}


@pytest.fixture(scope="module")
def engine(python: Path, model: Path) -> Iterator[Supervisor]:
    with engine_child(python) as supervisor:
        loaded = supervisor.load("hf", str(model))
        assert loaded["type"] == "loaded", loaded
        supervisor.provenance = loaded["provenance"]
        yield supervisor


@pytest.fixture(scope="module")
def encode(model: Path) -> Any:
    return AutoTokenizer.from_pretrained(model).encode


Reference = Callable[..., Any]


@pytest.fixture(scope="module")
def reference(python: Path, model: Path) -> Iterator[Reference]:
    """HFLM's answers to (kind, requests, batch size), each list in one call."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(REFERENCE)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = msgpack.Unpacker(process.stdout.raw)

        def ask(
            kind: str, requests: Sequence[Any], batch_size: int, gen_kwargs: Mapping[str, Any] = GREEDY
        ) -> Any:
            order = {"model": str(model), "kind": kind, "requests": requests, "batch_size": batch_size}
            process.stdin.write(msgpack.packb(order | {"gen_kwargs": gen_kwargs}))
            process.stdin.flush()
            return next(answers)

        yield ask
        process.kill()


def sums(rng: random.Random, count: int) -> list[str]:
    """Prompts of very different lengths."""
    sum_ = "Question: What is {} + {}?\nAnswer:"
    texts = [
        "\n\n".join(sum_.format(rng.randint(0, 99), rng.randint(0, 99)) for _ in range(rng.randint(1, 8)))
        for _ in range(count)
    ]
    return list(dict.fromkeys(texts))


def questions(rng: random.Random, encode: Any) -> list[list[list[int]]]:
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


def ask_in_chunks(
    engine: Supervisor, kind: str, requests: Sequence[Any], cuts: Any, **settings: Any
) -> list[Any]:
    """All chunks sent ahead, answers put back in the order of the requests."""
    assert len(cuts) > 2
    responses: list[Any] = [None] * len(requests)
    for cut in cuts:
        engine.send_chunk(kind, [requests[position] for position in cut.positions], **settings)
    for cut in cuts:
        answered, _ = engine.settle()
        assert answered["batch_size"] == settings["batch_size"]
        for position, response in zip(cut.positions, answered["responses"], strict=True):
            responses[position] = response
    return responses


def as_pairs(requests: Sequence[Any]) -> list[Pair]:
    return [Pair(array("I", context), array("I", continuation)) for context, continuation in requests]


@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_loglikelihoods_in_chunks_are_those_of_the_whole_list_to_the_last_bit(
    engine: Supervisor, reference: Reference, encode: Any, batch_size: int
) -> None:
    requests = questions(random.Random(1), encode)
    assert len(requests) == 300
    cuts = cut_loglikelihoods(as_pairs(requests), batch_size, grouped=True)
    responses = ask_in_chunks(engine, "loglikelihood", requests, cuts, batch_size=batch_size)
    assert responses == reference("loglikelihood", requests, batch_size)


def test_rolling_windows_in_chunks_sum_to_those_of_the_whole_list(
    engine: Supervisor, reference: Reference, encode: Any
) -> None:
    rng = random.Random(2)
    texts = [" ".join(sums(rng, rng.randint(1, 40))) for _ in range(12)]
    windows, owners = [], []
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


def draw(
    engine: Supervisor, rows: Sequence[int], seed: int = 1, batch_size: int | str = 4, **more: Any
) -> list[str]:
    """Samples of these of nine requests; the last two ask again what the first two ask."""
    texts = sums(random.Random(4), 7)
    texts += texts[:2]
    sampled = {"until": ["\n"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 12}
    answer = engine.ask(
        "generate_until",
        [texts[row] for row in rows],
        draws=[bytes([row]) for row in rows],
        seed=seed,
        batch_size=batch_size,
        gen_kwargs=sampled | more,
    )
    return list(answer["responses"])


def test_a_sample_depends_on_its_seed_and_request_alone(engine: Supervisor) -> None:
    once = draw(engine, range(9))
    assert all(draw(engine, range(9), batch_size=size) == once for size in (1, 4, 9, "auto"))
    assert draw(engine, range(8, -1, -1)) == once[::-1]
    assert draw(engine, range(3), batch_size=2) + draw(engine, range(3, 9), batch_size=2) == once
    assert once[:2] != once[-2:]
    assert draw(engine, range(9), seed=2) != once


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"max_length": 130}])
def test_a_sample_that_would_end_with_its_batch_has_none(
    engine: Supervisor, settings: dict[str, int]
) -> None:
    once = draw(engine, range(9), **settings)
    assert once == draw(engine, range(9), batch_size=2, **settings)
    assert once != draw(engine, range(9), seed=2, **settings)


def test_samples_of_an_encoder_and_decoder_have_lengths_of_their_own(
    python: Path, model: Path, tmp_path: Path
) -> None:
    with engine_child(python, SEQ2SEQ, MODEL=str(model), FOLDER=str(tmp_path)) as engine:
        engine.load("hf", str(tmp_path))
        once = draw(engine, range(9))
        assert once == draw(engine, range(9), batch_size=2) != draw(engine, range(9), seed=2)


@pytest.mark.parametrize(
    ("count", "settings"),
    [(4000, {"temperature": 2.0, "top_k": 30, "top_p": 0.9}), (500, {"temperature": 2.5, "num_beams": 2})],
)
def test_samples_are_distributed_as_those_of_lm_eval(
    engine: Supervisor, reference: Reference, count: int, settings: dict[str, Any]
) -> None:
    texts = ["Question: What is 1 + 1?\nAnswer:"] * count
    draws = [b"%d" % number for number in range(count)]
    drawn = {"until": ["\n"], "do_sample": True, "max_gen_toks": 2} | settings
    batches = {"batch_size": 500, "gen_kwargs": drawn}
    ours = Counter(engine.ask("generate_until", texts, seed=3, draws=draws, **batches)["responses"])
    theirs = Counter(reference("generate_until", texts, **batches))
    often = {text for text in ours | theirs if ours[text] + theirs[text] >= 20}
    rest = [counts.total() - sum(counts[text] for text in often) for counts in (ours, theirs)]
    pairs = [(ours[text], theirs[text]) for text in often] + [(rest[0] + 1, rest[1] + 1)]
    chi_square = sum((a - b) ** 2 / (a + b) for a, b in pairs)
    freedom = len(pairs) - 1
    assert freedom > 5
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5, pairs


def test_tokens_are_counted(engine: Supervisor, encode: Any) -> None:
    answer = engine.ask("loglikelihood", [[[0, 5, 6], [7]], [[0, 5], [7, 8, 9]]])
    assert (answer["prompt_tokens"], answer["generated_tokens"]) == (9, 0)
    answer = engine.ask("generate_until", ["Question: What is 1 + 1?\nAnswer:"], gen_kwargs=GREEDY)
    assert answer["prompt_tokens"] == len(encode("Question: What is 1 + 1?\nAnswer:"))
    assert 1 <= answer["generated_tokens"] <= 13


@pytest.mark.parametrize("asked", ["auto", "auto:4"])
def test_an_automatic_batch_size_is_chosen_once_and_kept(engine: Supervisor, asked: str) -> None:
    requests = [[[0] * 20, [n]] for n in range(2, 12)]
    sizes = {engine.ask("loglikelihood", requests, batch_size=asked)["batch_size"] for _ in range(3)}
    assert len(sizes) == 1
    assert 1 <= sizes.pop() <= 64
    generated = engine.ask("generate_until", ["Answer:"] * 3, batch_size=asked, gen_kwargs=GREEDY)
    assert 1 <= generated["batch_size"] <= 64


def test_provenance_says_what_answered(engine: Supervisor) -> None:
    provenance = engine.provenance
    assert provenance["versions"]["lm_eval"] == "0.4.13"
    assert provenance["dtype"] == provenance["softmax_dtype"] == "float32"
    assert provenance["environment"].startswith("PyTorch version: "), "as lm-eval has it"
    assert (provenance["max_length"], provenance["device"], provenance["threads"]) == (MAX_LENGTH, "cpu", 1)


def test_a_bad_request_fails_its_chunk_and_the_engine_goes_on(engine: Supervisor) -> None:
    engine.send_chunk("loglikelihood", [[[1], []]])
    failed, _ = engine.settle()
    assert (failed["type"], failed["error"]["type"]) == ("failed", "AssertionError")
    assert engine.ask("loglikelihood", [[[1], [2]]])["type"] == "answered"


def test_when_memory_runs_out_batches_are_halved_and_stay_so(python: Path, model: Path) -> None:
    """Rows are 64 tokens long and 300 tokens fit: batches of 16 and 8 do not, 4 rows do."""
    requests = [[[5] * 64, [n]] for n in range(2, 4)] + [[[n] * 64, [5]] for n in range(6, 20)]
    with engine_child(python, STARVED, TOKENS_THAT_FIT="300") as engine:
        engine.load("hf", str(model))
        engine.send_chunk("loglikelihood", requests, batch_size=16)
        answered, before = engine.settle()
        changes = [frame["change"] for frame in before if frame["type"] == "warning"]
        assert changes == ["batch size 16 -> 8", "batch size 8 -> 4"]
        assert answered["batch_size"] == 4
        assert answered["responses"] == engine.ask("loglikelihood", requests, batch_size=4)["responses"]

        engine.send_chunk("loglikelihood", requests, batch_size=16)
        answered, before = engine.settle()
        assert [frame for frame in before if frame["type"] == "warning"] == []
        assert answered["batch_size"] == 4
        assert engine.ask("loglikelihood", [[[5] * 10, [6]]], batch_size=16)["batch_size"] == 16

        engine.send_chunk("loglikelihood", [[[5] * 400, [6]]], batch_size=2)
        failed, before = engine.settle()
        assert [frame["change"] for frame in before] == ["batch size 2 -> 1"]
        assert failed["error"]["type"] == "torch.OutOfMemoryError"
        assert engine.ask("loglikelihood", [[[5] * 10, [6]]])["type"] == "answered"


def test_a_missing_model_is_told_before_the_child_ends(python: Path, tmp_path: Path) -> None:
    with engine_child(python) as engine:
        failed = engine.load("hf", str(tmp_path / "nothing"))
        assert (failed["type"], failed["chunk"]) == ("failed", None)
        assert "nothing" in failed["error"]["message"]
        assert engine.process.wait(PATIENCE_SECONDS) == 1


@pytest.mark.parametrize("switch", ["load_in_8bit", "load_in_4bit"])
def test_weights_are_quantized_where_the_arguments_ask_for_it(python: Path, model: Path, switch: str) -> None:
    with engine_child(python) as supervisor:
        loaded = supervisor.load("hf", str(model), **{switch: True})
    assert loaded["type"] == "loaded", loaded
    assert loaded["provenance"]["quantization"][switch] is True


def test_a_gguf_file_is_taken_from_the_model_alone(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny_gguf(Settings().cache_dir)
    (tmp_path / file.name).write_bytes(b"of the current folder")
    monkeypatch.chdir(tmp_path)
    with engine_child(python) as supervisor:
        loaded = supervisor.load("hf", str(file.parents[1]), subfolder=file.parent.name, gguf_file=file.name)
    assert loaded["type"] == "loaded", loaded
    assert (loaded["provenance"]["parameters"], loaded["provenance"]["dtype"]) == (125120, "float32")
