"""Which tokenizer and which chat template vLLM takes of a model's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.harness_child.errors import TOKENIZER_ERROR, JobFailedError
from workers.harness_child.lm_eval.model_files import has_file, stated

MODES = ("auto", "hf")
PROCESSORS = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
"""Any of them names the class of a processor."""

TEMPLATES = ("processor_config.json", "chat_template.json")
"""Where a processor has a template that is not the tokenizer's, the first one before the second."""


def refuse_own_tokenizer(name: str, args: Mapping[str, Any]) -> None:
    """JobFailedError where vLLM would take another tokenizer than transformers has."""
    mode, revision = args.get("tokenizer_mode") or "auto", args.get("tokenizer_revision")
    if mode not in MODES:
        raise JobFailedError(TOKENIZER_ERROR, f"tokenizer_mode {mode!r} is none of {', '.join(MODES)}")
    if mode != "auto" or not has_file(name, revision, "consolidated*.safetensors"):
        return
    if has_file(name, revision, "tekken.json", "tokenizer.model.v*"):
        raise JobFailedError(
            TOKENIZER_ERROR,
            f"vLLM reads {name} with mistral's own tokenizer, which evalq does not know",
            hint="say tokenizer_mode=hf: lm-eval and vLLM then take the one of tokenizer.json, too",
        )


def processor_template(name: str, revision: str | None) -> str | None:
    """The chat template of a model's processor, which goes before its tokenizer's."""
    if not any("processor_class" in stated(name, revision, file) for file in PROCESSORS):
        return None
    own = (stated(name, revision, file).get("chat_template") for file in TEMPLATES)
    return next((template for template in own if isinstance(template, str)), None)
