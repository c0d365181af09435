"""How hf is told to load a model, before anybody loads it."""

from __future__ import annotations

from typing import Any

import pytest

from app.backends import BACKENDS
from app.backends.backend import Loading
from app.domain.model_facts import ModelFacts


def notes(args: dict[str, Any], stored: str | None = None, batch_size: int | str = 4) -> list[str]:
    return BACKENDS["hf"].settle(Loading(args, batch_size, facts=ModelFacts(dtype=stored)))[1]


@pytest.mark.parametrize(
    ("args", "stored", "told"),
    [
        ({"dtype": "float32"}, "bfloat16", None),
        ({"dtype": "torch.float64"}, None, None),
        ({"dtype": "auto"}, "float32", None),
        ({}, "bfloat16", "bfloat16"),
        ({"dtype": "float16"}, "float32", "float16"),
        ({}, None, "the model's own dtype"),
        ({"dtype": "bfloat16", "softmax_dtype": "float32"}, None, None),
    ],
)
def test_what_a_narrow_dtype_costs_is_told(
    args: dict[str, Any], stored: str | None, told: str | None
) -> None:
    found = notes(args, stored)
    assert [f"computed in {told}," in note for note in found] == ([True] if told else [])


def test_an_automatic_batch_size_is_told_of_where_it_shows() -> None:
    assert len(notes({"dtype": "bfloat16"}, batch_size="auto:4")) == 2
    assert notes({"dtype": "float32"}, batch_size="auto") == []


def test_the_softmax_is_named_and_what_was_posted_is_left_alone() -> None:
    posted = {"dtype": "float32"}
    args, _ = BACKENDS["hf"].settle(Loading(posted, 4))
    assert args == {"dtype": "float32", "softmax_dtype": None}
    assert posted == {"dtype": "float32"}


def test_a_backend_that_says_nothing_gets_what_was_posted() -> None:
    assert BACKENDS["echo"].settle(Loading({"anything": 1}, "auto")) == ({"anything": 1}, [])
