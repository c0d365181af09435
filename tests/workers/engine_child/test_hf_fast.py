"""Fast scoring of the hf engine, through its real child process, against one HFLM call on the whole list."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from workers.protocol.engine import Answered, FromEngine, ScoringMode, Warned

from .conftest import Reference
from .prompts import GREEDY, sums
from .supervisor import BOOTSTRAP, Supervisor, engine_child, notes, values

CLOSE = 1e-4
"""Nats: in float32 sums of up to 500 tokens were seen to differ by a fifth of that."""

SHARED = 2048
STARVED, UNTRUE, BY_ROW, SEQ2SEQ, GPT_NEO, MORE_ROWS_IN = (
    Path(__file__).with_name(f"{name}.py")
    for name in ("starved", "untrue_positions", "by_row", "seq2seq", "gpt_neo", "more_rows_in")
)


@pytest.fixture(scope="module")
def fast(python: Path, model: Path) -> Iterator[Supervisor]:
    with engine_child(python) as supervisor:
        supervisor.loaded("hf", str(model), scoring_mode=ScoringMode.FAST)
        yield supervisor


@pytest.fixture(scope="module")
def requests(model: Path) -> list[list[list[int]]]:
    """Sums with letters and words as answers, and what is at the edges."""
    rng, encode = random.Random(5), AutoTokenizer.from_pretrained(model).encode

    def some(count: int) -> list[int]:
        return [rng.randrange(2, 390) for _ in range(count)]

    shots = encode(sums(rng, 1)[0])
    pairs = [
        [[*shots, *encode(text)], answer]
        for text in sums(rng, 20)
        for answer in ([rng.randrange(2, 390)], some(5), some(2), some(9))
    ]
    context = some(30)
    begins = some(4)
    pairs += [[context, begins[:length]] for length in (1, 2, 4)] + [[context, begins]] * 2
    pairs += [[context, [letter]] for letter in range(399)]  # the likeliest among them
    pairs += [[context, [*begins, letter, 5]] for letter in range(2, 30)]
    pairs += [
        [[0], some(12)],
        [[0], [7]],
        [[0], begins],
    ]  # a prefix token is all the context of an empty text
    pairs += [[some(500), some(length)] for length in (11, 12, 13, 14, 40)]
    pairs += [[some(600), begins], [some(3), some(512)], [some(700), some(512)]]
    rng.shuffle(pairs)
    return pairs


def told_warnings(told: Sequence[FromEngine]) -> list[Warned]:
    return [message for message in told if isinstance(message, Warned)]


def unlike(found: Sequence[Any], expected: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Responses that are further apart than numbers are that were added up in another order."""
    pairs = zip(found, map(list, expected), strict=True)
    return [(one, other) for one, other in pairs if abs(one[0] - other[0]) > CLOSE or one[1] != other[1]]


@pytest.mark.parametrize("batch_size", [1, 16])
def test_fast_answers_are_those_of_stock_but_for_the_last_bits(
    fast: Supervisor, reference: Reference, requests: list[list[list[int]]], batch_size: int
) -> None:
    answered = fast.ask("loglikelihood", requests, batch_size=batch_size)
    expected = reference("loglikelihood", requests, 8)
    assert unlike(values(answered), expected) == []
    assert len({greedy for _, greedy in expected}) == 2
    assert [note.cut for note in notes(answered)] == [
        max(0, len(context) + len(continuation) - 1 - 512) for context, continuation in requests
    ]


def test_a_fast_engine_says_so(fast: Supervisor, engine: Supervisor) -> None:
    assert fast.provenance["scoring_mode"] == "fast"
    assert engine.provenance["scoring_mode"] == "stock"


def test_other_kinds_are_asked_as_ever(fast: Supervisor, engine: Supervisor) -> None:
    windows = [[[0], [5, 6, 7]], [[5, 6], [8, 9]]]
    for kind, asked, more in (
        ("loglikelihood_rolling", windows, {}),
        ("generate_until", ["Question:", "Answer:"], {"gen_kwargs": GREEDY}),
    ):
        one, other = (each.ask(kind, asked, **more) for each in (fast, engine))
        assert one.responses == other.responses


@pytest.mark.parametrize("pair", [[[1], []], [[], [1]], [[1], [2] * 513]])
def test_a_request_that_cannot_be_scored_fails_its_chunk_alone(fast: Supervisor, pair: list[Any]) -> None:
    fast.send_chunk("loglikelihood", [[[1], [2]], pair])
    assert fast.failed().error.type == "ValueError"
    fast.ask("loglikelihood", [[[1], [2]]])


def test_when_memory_runs_out_less_is_read_at_once(
    python: Path, model: Path, reference: Reference, requests: list[list[list[int]]]
) -> None:
    fitting = [pair for pair in requests if len(pair[0] + pair[1]) < 200]
    longest = max(len(context + continuation) for context, continuation in fitting)
    with engine_child(python, STARVED, TOKENS_THAT_FIT=str(SHARED // 2)) as supervisor:
        supervisor.loaded("hf", str(model), scoring_mode=ScoringMode.FAST)
        supervisor.send_chunk("loglikelihood", fitting, batch_size=1)
        answered, before = supervisor.settle()
    assert isinstance(answered, Answered)
    assert [warned.code for warned in told_warnings(before)][:1] == ["host_out_of_memory"]
    assert 1 <= answered.batch_size <= SHARED // 2 // longest
    assert unlike(values(answered), reference("loglikelihood", fitting, 8)) == []


@pytest.fixture
def told_windows(model: Path, tmp_path: Path) -> Path:
    """The model with a configuration that says of half its layers that they see little of a text."""
    folder = Path(shutil.copytree(model, tmp_path / "windows"))
    file = folder / "config.json"
    layers = {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 64}
    file.write_text(json.dumps(json.loads(file.read_text()) | layers))
    return folder


@pytest.mark.parametrize(
    ("script", "folder", "why"),
    [
        (BOOTSTRAP, "told_windows", "its layers see 64 tokens of a text that may have 512"),
        (UNTRUE, "model", "nats a token"),
        (BY_ROW, "model", "nats a token"),
    ],
)
def test_a_model_that_takes_no_trees_is_scored_as_stock_and_says_why(
    engine: Supervisor, request: pytest.FixtureRequest, script: Path, folder: str, why: str
) -> None:
    asked = [[[5, 6, 7], [8, 9]], [[5, 6, 7], [8, 10, 11]], [[5, 6, 7], [12]]]
    with engine_child(request.getfixturevalue("python"), script) as supervisor:
        model = str(request.getfixturevalue(folder))
        loaded = supervisor.loaded("hf", model, scoring_mode=ScoringMode.FAST)
        answered = supervisor.ask("loglikelihood", asked)
    assert why in loaded.provenance["scored_as_stock"]
    assert loaded.provenance["scoring_mode"] == "stock"
    assert answered.responses == engine.ask("loglikelihood", asked).responses


def test_a_sequence_to_sequence_model_is_scored_as_stock(python: Path, model: Path, tmp_path: Path) -> None:
    with engine_child(python, SEQ2SEQ, MODEL=str(model), FOLDER=str(tmp_path)) as supervisor:
        loaded = supervisor.loaded("hf", str(tmp_path), scoring_mode=ScoringMode.FAST)
    assert "sequence-to-sequence" in loaded.provenance["scored_as_stock"]


def test_local_layers_that_count_by_rows_are_scored_as_stock(
    python: Path, model: Path, tmp_path: Path
) -> None:
    with engine_child(python, GPT_NEO, MODEL=str(model), FOLDER=str(tmp_path), KIND="local") as supervisor:
        supervisor.loaded("hf", str(tmp_path), scoring_mode=ScoringMode.FAST)
    assert supervisor.provenance["scoring_mode"] == "stock"


def test_no_tree_is_wider_than_the_mask_that_a_model_keeps(python: Path, model: Path, tmp_path: Path) -> None:
    rng = random.Random(3)
    context, *ends = ([rng.randrange(2, 390) for _ in range(count)] for count in (170, *[20] * 12))
    asked = [[[*context, *end], [5, 6]] for end in ends]
    told = []
    for mode in ScoringMode:
        with engine_child(
            python, GPT_NEO, MODEL=str(model), FOLDER=str(tmp_path), KIND="global"
        ) as supervisor:
            supervisor.loaded("hf", str(tmp_path), scoring_mode=mode)
            told.append(
                (supervisor.provenance["scoring_mode"], values(supervisor.ask("loglikelihood", asked)))
            )
    (one, stock), (other, fast) = told
    assert (one, other) == ("stock", "fast")
    assert unlike(fast, stock) == []


def test_a_tree_is_not_much_wider_than_a_text_where_its_square_is_held(python: Path) -> None:
    script, root = Path(__file__).with_name("widths.py"), Path(__file__).parents[3]
    told = subprocess.run(
        [python, script], env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, check=True
    )
    on_cpu, eager, unheld = json.loads(told.stdout)
    assert max(on_cpu, eager) <= 2 * 3040 < unheld


def test_a_trial_draws_what_the_model_has_in_and_out(python: Path, model: Path) -> None:
    with engine_child(python, MORE_ROWS_IN) as supervisor:
        supervisor.loaded("hf", str(model), scoring_mode=ScoringMode.FAST)
    assert supervisor.provenance["scoring_mode"] == "fast"
