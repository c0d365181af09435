from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.tokens import encode_pairs
from workers.protocol.engine import EngineRecipe

from .conftest import MAX_LENGTH
from .reference import ReferenceLM

texts = st.text(st.sampled_from("ab 1\n<s/>é\u3000"), max_size=8)


def broker(model: Path, **args: Any) -> BrokerLM:
    return BrokerLM(EngineRecipe("hf", str(model), args=args), lambda instance, repeat: None)


class Recording(ReferenceLM):
    """Keeps the tokens that lm-eval hands to a model."""

    def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> Any:
        return [(context, continuation) for _, context, continuation in requests]


class Ask:
    def __init__(self, *args: str) -> None:
        self.args = args


@pytest.fixture(params=["model", "bos_model"])
def folder(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.getfixturevalue(request.param)
    return chosen


@pytest.mark.parametrize("add_bos_token", [None, True, False])
@pytest.mark.parametrize("backend", ["causal", "seq2seq"])
@given(pairs=st.lists(st.tuples(texts, texts.filter(bool)), min_size=1, max_size=20))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pairs_are_encoded_as_lm_eval_encodes_them(
    folder: Path, add_bos_token: bool | None, backend: str, pairs: list[tuple[str, str]]
) -> None:
    pairs += [(f"<s>{context}", continuation) for context, continuation in pairs]
    expected = Recording(folder, MAX_LENGTH, add_bos_token)
    expected.backend = backend
    lm = broker(folder, add_bos_token=add_bos_token, backend=backend)

    encoded = [(context.tolist(), continuation.tolist()) for context, continuation in encode_pairs(lm, pairs)]
    assert encoded == expected.loglikelihood([Ask(*pair) for pair in pairs], disable_tqdm=True)


def test_the_maximum_length_comes_from_the_arguments_or_the_model(model: Path) -> None:
    assert broker(model).max_length == MAX_LENGTH
    assert broker(model, max_length=64).max_length == 64


def test_the_prefix_token_is_bos_unless_given(model: Path) -> None:
    assert broker(model).prefix_token_id == 0
    assert broker(model, prefix_token_id=7).prefix_token_id == 7
    assert broker(model).eot_token_id == 1
