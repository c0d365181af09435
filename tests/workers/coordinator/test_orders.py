"""What a harness child is told of an engine's backend."""

from __future__ import annotations

import pytest

from app.backends import BACKENDS, backend_key
from app.backends.backend import Shapes
from workers.coordinator.orders import engine_rules
from workers.protocol.harness import EngineRules, PromptShapes


def test_both_ends_know_the_same_shapes() -> None:
    assert {str(shapes) for shapes in Shapes} == {str(shapes) for shapes in PromptShapes}


@pytest.mark.parametrize("name", BACKENDS)
def test_the_harness_is_told_what_the_backend_says(name: str) -> None:
    backend = BACKENDS[name]
    assert engine_rules(name) == EngineRules(
        key=backend_key(name),
        shapes=PromptShapes(backend.shapes),
        whole_batches=backend.batching.whole,
        grouped=backend.batching.grouped,
        answers=backend.answers,
        neutral=tuple(sorted(backend.neutral)),
    )


def test_hf_is_told_as_lm_evals_own_class() -> None:
    rules = engine_rules("hf")
    assert (rules.shapes, rules.whole_batches, rules.grouped) == (PromptShapes.HFLM, True, "logits_cache")
