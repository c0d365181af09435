"""Samples of the hf engine: each by itself, and from the distribution that lm-eval's are from."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from workers.protocol.engine import Draws

from .conftest import Reference
from .prompts import sums
from .supervisor import Supervisor, engine_child, values

SEQ2SEQ = Path(__file__).with_name("seq2seq.py")


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
        draws=Draws(seed, tuple(bytes([row]) for row in rows)),
        batch_size=batch_size,
        gen_kwargs=sampled | more,
    )
    return values(answer)


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
    draws = Draws(3, tuple(b"%d" % number for number in range(count)))
    drawn = {"until": ["\n"], "do_sample": True, "max_gen_toks": 2} | settings
    batches = {"batch_size": 500, "gen_kwargs": drawn}
    ours: Counter[str] = Counter(values(engine.ask("generate_until", texts, draws=draws, **batches)))
    theirs: Counter[str] = Counter(reference("generate_until", texts, **batches))
    often = {text for text in ours | theirs if ours[text] + theirs[text] >= 20}
    rest = [counts.total() - sum(counts[text] for text in often) for counts in (ours, theirs)]
    pairs = [(ours[text], theirs[text]) for text in often] + [(rest[0] + 1, rest[1] + 1)]
    chi_square = sum((a - b) ** 2 / (a + b) for a, b in pairs)
    freedom = len(pairs) - 1
    assert freedom > 5
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5, pairs
