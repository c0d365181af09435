"""What lm-eval's `--model` may say beside the backends that evalq knows, and what to use instead: in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Elsewhere(NamedTuple):
    """Models that evalq does not plan, by what lm-eval calls them."""

    names: frozenset[str]
    what: str
    near: tuple[str, ...] = ()


_KINDS = (
    Elsewhere(
        frozenset(
            {
                *("anthropic-chat", "anthropic-chat-completions", "anthropic-completions"),
                *("azure-openai-chat-completions", "gguf", "ggml", "litellm", "litellm-chat"),
                *("litellm-chat-completions", "local-chat-completions", "local-completions"),
                *(
                    "openai-chat-completions",
                    "openai-completions",
                    "sglang-generate",
                    "textsynth",
                    "watsonx_llm",
                ),
            }
        ),
        "asks a server over HTTP, and evalq loads models itself",
        ("vllm", "hf"),
    ),
    Elsewhere(
        frozenset({"vllm-vlm"}), "is for models that are shown pictures; evalq asks in text alone", ("vllm",)
    ),
    Elsewhere(
        frozenset({"hf-multimodal", "hf-mistral3", "hf-audiolm-qwen"}),
        "is for models that are shown pictures or sound; evalq asks in text alone",
        ("hf",),
    ),
    Elsewhere(
        frozenset({"mamba_ssm", "steered"}),
        "is a class of lm-eval's own that evalq has no engine for",
        ("hf",),
    ),
    Elsewhere(
        frozenset({"trtllm"}), "loads engines that TensorRT-LLM compiled; evalq loads weights", ("vllm",)
    ),
    Elsewhere(
        frozenset({"habana", "ipex", "neuronx", "onnxruntime", "onnxruntime-genai", "openvino", "winml"}),
        "is for runtimes and processors that evalq has no workers for",
        ("hf",),
    ),
    Elsewhere(frozenset({"dummy"}), "answers at random, without a model"),
)


def elsewhere(model: str) -> Elsewhere | None:
    """What is known of a name of lm-eval's that no backend has."""
    return next((kind for kind in _KINDS if model in kind.names), None)


def names_elsewhere() -> Iterator[str]:
    """All of them."""
    for kind in _KINDS:
        yield from kind.names
