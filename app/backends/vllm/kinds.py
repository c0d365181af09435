"""What values of vLLM's arguments and generation settings must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.arguments.kinds import SWITCH, TEXT, Kind, either, listed, number, one_of, whole
from app.backends.known_arguments import GEN_KWARGS, MODEL_ARGS
from app.backends.known_arguments import NEVER_NULL as GENERIC_NEVER_NULL
from app.backends.vllm import names

_MOST = 1000
LEAST_LENGTH = 3
"""Tokens: one of a context, one of a continuation, and the one that vLLM generates to give log-probabilities."""
LOADED = ("auto", "hf", "safetensors", "pt", "fastsafetensors", "mistral", "sharded_state", "dummy")
"""Ways to read weights that write nothing, reach nobody and need no package of their own."""
WRITES = frozenset({"cache_dir", "compile_cache_save_format", "debug_dump_path", "local_cache_dir"})
_TOKEN_IDS = listed(whole(0), _MOST)


def _choice(values: tuple[Any, ...]) -> Kind:
    """One of these, numbers among them."""

    def read(value: Any) -> Any:
        found = next((each for each in values if type(each) is type(value) and each == value), None)
        if found is None:
            found = next((each for each in values if str(each) == value), None)
        if found is None:
            raise ValueError
        return found

    return Kind("one of those allowed", read, tuple(map(str, values)))


def _compilation(value: Any) -> Any:
    """A level, or an object that neither writes files nor names a backend to import."""
    if not isinstance(value, dict):
        return whole(0, 3).read(value)
    if value.keys() & WRITES or value.get("backend") not in (None, "", "eager", "inductor"):
        raise ValueError
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _any(value: Any) -> Any:
    return value


OBJECT = Kind("an object", _object)
LIST = listed(Kind("anything", _any), _MOST)
_OBJECTS = {
    *(name for name in names.OTHERS if name.endswith(("_config", "_kwargs", "_overrides"))),
    *("custom_histogram_buckets", "limit_mm_per_prompt", "ir_op_priority", "default_mm_loras"),
}
_LISTS = (
    *("collect_detailed_traces", "cpu_offload_params", "offload_params", "kv_cache_dtype_skip_layers"),
    *("numa_bind_cpus", "numa_bind_nodes", "sleep_preserve_parameter_names", "cudagraph_capture_sizes"),
    "lora_target_modules",
)
_FROM_ONE = (
    *("dp_sync_interval", "mamba_block_size", "max_num_active_seqs", "max_num_scheduled_tokens"),
    *("max_parallel_loading_workers", "offload_num_in_group", "prefill_schedule_interval", "spec_tokens"),
    *("prefix_match_unit", "replayssm_buffer_len", "stream_interval", "safetensors_prefetch_block_size"),
    "safetensors_prefetch_num_threads",
)

MODEL: Mapping[str, Kind] = {
    **MODEL_ARGS,
    **dict.fromkeys(names.SWITCHES, SWITCH),
    **dict.fromkeys(names.WHOLES, whole(-1, 2**53)),
    **dict.fromkeys(_FROM_ONE, whole(1)),
    **dict.fromkeys(names.NUMBERS, number(0)),
    **dict.fromkeys(_OBJECTS, OBJECT),
    **dict.fromkeys(_LISTS, LIST),
    **dict.fromkeys(names.TEXTS, TEXT),
    **{name: _choice(values) for name, values in names.CHOICES.items()},
    **{name: MODEL_ARGS[name] for name in ("gpu_memory_utilization", "max_num_seqs", "revision")},
    **dict.fromkeys(("max_length", "max_model_len"), whole(LEAST_LENGTH, 10_000_000)),
    "block_size": whole(1, 4096),
    "code_revision": MODEL_ARGS["revision"],
    "compilation_config": Kind(
        "a level from 0 to 3, or an object without paths and backends of its own", _compilation
    ),
    "cpu_offload_gb": number(0, 1e6),
    "decode_context_parallel_size": whole(1, 1024),
    "distributed_executor_backend": replace(
        one_of("mp", "uni"), says="mp or uni: a replica is on one host, and no ray runs there"
    ),
    "kv_cache_dtype": TEXT,
    "kv_cache_metrics_sample": number(0, 1, above=True),
    "load_format": replace(
        one_of(*LOADED),
        says="one of those allowed: others write beside the model, reach hosts or need packages",
    ),
    "lora_local_path": TEXT,
    "max_logprobs": replace(
        either(whole(1), whole(-1, -1)), says="a whole number of at least 1, or -1 for all"
    ),
    "max_num_batched_tokens": whole(1),
    "model_impl": one_of("auto", "vllm", "transformers"),
    "optimization_level": whole(0, 3),
    "prefill_context_parallel_size": Kind("1: evalq gives a replica TP x PP devices", whole(1, 1).read),
    "quantization": one_of(*sorted(names.QUANTIZING)),
    "runner": one_of("auto", "generate"),
    "convert": one_of("auto", "none"),
    "seed": whole(0),
    "think_end_token": TEXT,
    "tokenizer_mode": replace(
        one_of("auto", "hf"),
        says="one of those allowed: prompts are prepared with transformers' tokenizers, not Mistral's own",
    ),
    "tokenizer_revision": MODEL_ARGS["revision"],
    "truncation_side": one_of("left", "right", "middle"),
    "watermark": number(0, 0.999),
}
"""Null is as good as not given."""


def _until(value: Any) -> Any:
    """lm-eval cuts at no empty text, and vLLM takes none."""
    found = GEN_KWARGS["until"].read(value)
    if "" in (found if isinstance(found, list) else [found]):
        raise ValueError
    return found


GENERATION: Mapping[str, Kind] = {
    **GEN_KWARGS,
    "allowed_token_ids": Kind(
        f"a list of 1 to {_MOST} whole numbers", lambda value: _some(_TOKEN_IDS, value)
    ),
    "bad_words": listed(TEXT, _MOST),
    "ignore_eos": SWITCH,
    "include_stop_str_in_output": SWITCH,
    "min_tokens": whole(0),
    "n": Kind("1: lm-eval's repeats ask more than once", whole(1, 1).read),
    "skip_reading_prefix_cache": SWITCH,
    "skip_special_tokens": SWITCH,
    "spaces_between_special_tokens": SWITCH,
    "stop_token_ids": _TOKEN_IDS,
    "temperature": number(0, 2),
    "thinking_token_budget": whole(-1),
    "top_p": number(0, 1, above=True),
    "until": replace(
        GEN_KWARGS["until"], says=f"{GEN_KWARGS['until'].says}, and none of them empty", read=_until
    ),
    "watermarking": SWITCH,
}

NEVER_NULL = GENERIC_NEVER_NULL | {
    *(
        "frequency_penalty",
        "min_p",
        "min_tokens",
        "n",
        "presence_penalty",
        "repetition_penalty",
        "top_k",
        "top_p",
    ),
}
"""Generation settings that vLLM compares with numbers, whatever is given."""


def _some(kind: Kind, value: Any) -> Any:
    found = kind.read(value)
    if not found:
        raise ValueError
    return found
