"""The arguments whose values lm-eval 0.4.13 and its backends agree on, with the kind each must be.

Other names are passed on as they are: backends have hundreds, and only they know them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.arguments.kinds import SWITCH, TEXT, Kind, either, listed, number, one_of, whole

MOST_TOKENS = 10_000_000
MOST_BATCH = 100_000
MOST_STOPS = 1000
BATCH_SIZE = re.compile(r"auto(:[1-9]\d{0,3})?")

_DTYPES = ("auto", "bfloat16", "float16", "float32", "float64", "half", "float", "double")
_NARROW = ("float8_e4m3fn", "float8_e5m2", "int8", "8bit", "uint8", "int4", "4bit", "nf4", "fp4")
"""What `app.backends.parallelism` says more about, and what some GPUs load."""


_ATTENTION = (
    "eager",
    "sdpa",
    "flex_attention",
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
)


def _dtype(value: Any) -> str:
    if not isinstance(value, str) or value.lower().removeprefix("torch.") not in (*_DTYPES, *_NARROW):
        raise ValueError
    return value


def _batch_size(value: Any) -> int | str:
    if isinstance(value, str) and BATCH_SIZE.fullmatch(value):
        return value
    size: int = whole(1, MOST_BATCH).read(value)
    return size


def _stops(value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MOST_STOPS:
        raise ValueError
    if not all(isinstance(stop, str) for stop in stops):
        raise ValueError
    return value


CHAT_METHOD = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "conversations",
        "documents",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "sanitize_control_tokens",
        "self",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
"""Parameters of transformers' `apply_chat_template` itself: no template reads them, and one brings a template along."""


def _chat_template_args(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() & CHAT_METHOD:
        raise ValueError
    return value


def _attention(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _attention(each) for name, each in value.items()}
    if value is None or (isinstance(value, str) and "/" in value):  # a kernel of the hub
        return value
    one_of(*_ATTENTION).read(str(value).removeprefix("paged|"))
    return value


def _below(value: Any) -> str:
    name: str = TEXT.read(value)
    if name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/"):
        raise ValueError
    return name


_BELOW = Kind("the name of something in the model's own folder or repository, such as model.gguf", _below)
_REVISION = Kind("the name of a branch, a tag or a commit", _below)
_COMPUTING = one_of(*(dtype for dtype in _DTYPES if dtype != "auto"))
"""torch takes these where it computes; only lm-eval knows what `auto` is, and only for weights."""
_TOKENS = whole(1, MOST_TOKENS)
_SHARE = number(0, 1)
_TOKEN_ID = whole(0)
_TOKEN_IDS = either(_TOKEN_ID, listed(_TOKEN_ID, MOST_STOPS))
_ANY_NUMBER = number(-1e6, 1e6)


MODEL_ARGS: Mapping[str, Kind] = {
    "add_bos_token": SWITCH,
    "attn_implementation": Kind("one of those allowed", _attention, _ATTENTION),
    "autogptq": either(SWITCH, TEXT),
    "backend": one_of("default", "causal", "seq2seq"),
    "batch_size": Kind(f"a whole number from 1 to {MOST_BATCH}, auto or auto:N", _batch_size),
    "chat_template_args": Kind(
        "an object of what the model's own template reads, such as enable_thinking; a template, tools, documents and"
        " settings of the tokenizer are not",
        _chat_template_args,
    ),
    "delta": TEXT,
    "dtype": Kind("one of those allowed", _dtype, _DTYPES),
    "enable_thinking": SWITCH,
    "enforce_eager": SWITCH,
    "gguf_file": _BELOW,
    "gptqmodel": SWITCH,
    "gpu_memory_utilization": number(0, 1, above=True),
    "load_in_4bit": SWITCH,
    "load_in_8bit": SWITCH,
    "logits_cache": SWITCH,
    "max_batch_size": whole(1, MOST_BATCH),
    "max_gen_toks": _TOKENS,
    "max_length": _TOKENS,
    "max_model_len": _TOKENS,
    "max_num_seqs": whole(1),
    "mixed_precision_dtype": _COMPUTING,
    "parallelize": SWITCH,
    "peft": TEXT,
    "prefix_token_id": whole(0),
    "revision": either(
        _REVISION, whole(0, 2**63 - 1)
    ),  # lm-eval makes it text; a short hash may be all digits
    "softmax_dtype": _COMPUTING,
    "subfolder": Kind(_BELOW.says, lambda value: value if value == "" else _below(value)),
    "tokenizer": TEXT,
    "truncation": SWITCH,
    "trust_remote_code": SWITCH,
    "use_fast_tokenizer": SWITCH,
}
"""Null is what lm-eval takes for "not given", and right everywhere."""

GEN_KWARGS: Mapping[str, Kind] = {
    "begin_suppress_tokens": listed(_TOKEN_ID, MOST_STOPS),
    "diversity_penalty": _ANY_NUMBER,
    "do_sample": SWITCH,
    "early_stopping": either(SWITCH, one_of("never")),
    "encoder_no_repeat_ngram_size": whole(0),
    "encoder_repetition_penalty": number(0, above=True),
    "eos_token_id": _TOKEN_IDS,
    "epsilon_cutoff": _SHARE,
    "eta_cutoff": _SHARE,
    "forced_bos_token_id": _TOKEN_ID,
    "forced_eos_token_id": _TOKEN_IDS,
    "frequency_penalty": number(-2, 2),
    "guidance_scale": _ANY_NUMBER,
    "length_penalty": _ANY_NUMBER,
    "max_completion_tokens": _TOKENS,
    "max_gen_toks": _TOKENS,
    "max_length": _TOKENS,
    "max_new_tokens": _TOKENS,
    "max_time": number(0, above=True),
    "max_tokens": _TOKENS,
    "min_length": whole(0),
    "min_new_tokens": whole(0),
    "min_p": _SHARE,
    "no_repeat_ngram_size": whole(0),
    "num_beam_groups": whole(1, 1000),
    "num_beams": whole(1, 1000),
    "num_return_sequences": whole(1, 1),
    "penalty_alpha": _SHARE,
    "prefill_chunk_size": whole(1),
    "presence_penalty": number(-2, 2),
    "prompt_lookup_num_tokens": whole(1),
    "remove_invalid_values": SWITCH,
    "renormalize_logits": SWITCH,
    "repetition_penalty": number(0, above=True),
    "return_dict_in_generate": SWITCH,
    "suppress_tokens": listed(_TOKEN_ID, MOST_STOPS),
    "temperature": number(0),
    "token_healing": SWITCH,
    "top_h": number(0, 1, above=True),
    "top_k": whole(-1),
    "top_p": _SHARE,
    "typical_p": number(0, 1, above=True),
    "until": Kind(f"text, or a list of at most {MOST_STOPS} texts", _stops),
}
"""As lm_eval/models/utils.py, `normalize_gen_kwargs`, and the backends read them."""

NEVER_NULL = frozenset({"max_length", "num_beams", "num_return_sequences", "temperature", "until"})
"""Generation settings for which null is not as good as not given."""
