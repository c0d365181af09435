"""Which arguments the vllm backend takes, and what is known to be wrong with them before an engine is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.backends.arguments import Arguments, Names, Wrong
from app.backends.vllm import names
from app.backends.vllm.kinds import GENERATION, MODEL, NEVER_NULL

_OURS = "is set by evalq"
_JOBS_SEED = "is not taken: what is drawn follows the job's own `seed`"
_REPLICAS = "is not taken: replicas do the data parallelism (data_parallel_size, or the job's `replicas`)"
_REACHES = "is not taken: no engine of evalq opens connections that a job names"
_WRITES = "is not taken: no engine of evalq writes files that a job names"
_TEXT_ALONE = "is not taken: of a generation its text is kept, nothing else"
_NO_JSON = "is not taken: vLLM wants an object of its own there, which no setting of lm-eval can say"

_ARGUMENTS = (
    names.SWITCHES | names.WHOLES | names.NUMBERS | names.TEXTS | names.OTHERS | names.CHOICES.keys()
) | names.CONSTRUCTOR

TOLD: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("data_parallel_rank", "data_parallel_start_rank", "data_parallel_size_local"),
            *("data_parallel_address", "data_parallel_rpc_port", "data_parallel_hybrid_lb"),
            *("data_parallel_external_lb", "data_parallel_multi_port_external_lb"),
        ),
        _REPLICAS,
    ),
    **dict.fromkeys(
        (
            *("master_addr", "master_port", "nnodes", "node_rank", "otlp_traces_endpoint"),
            *("kv_transfer_config", "kv_events_config", "ec_transfer_config", "weight_transfer_config"),
            *("allowed_media_domains", "enable_elastic_ep", "elastic_ep_max_dp_size"),
            *("enable_fault_tolerance", "fault_tolerance_config", "kv_offloading_backend"),
        ),
        _REACHES,
    ),
    **dict.fromkeys(("mm_encoder_fp8_scale_save_path", "profiler_config"), _WRITES),
    **dict.fromkeys(("skip_tokenizer_init", "tokens_only", "device_ids", "ray_workers_use_nsight"), _OURS),
    **dict.fromkeys(("pooler_config", "diffusion_config"), "is not taken: evalq asks models that write text"),
    "gpus": "is not taken: say gpus_per_replica beside model_args",
    "logits_cache": "is an argument of hf: vllm asks every request for itself",
    "model": "is called pretrained",
    "parallelize": "is an argument of hf: it is tensor_parallel_size here",
    "peft": "is an argument of hf: it is lora_local_path here",
}
"""Arguments that vLLM has and a job cannot give, and those that others have."""

GENERATION_TOLD: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("logprobs", "prompt_logprobs", "prompt_logprob_token_ids", "prompt_logprob_start"),
            *("logprob_token_ids", "flat_logprobs", "routed_experts_prompt_start", "trace_decode_token_ids"),
        ),
        _TEXT_ALONE,
    ),
    **dict.fromkeys(
        (
            *("detokenize", "output_kind", "output_text_buffer_length", "skip_clone", "stream_interval"),
            "extra_args",
        ),
        _OURS,
    ),
    **dict.fromkeys(("logit_bias", "repetition_detection", "structured_outputs"), _NO_JSON),
    **dict.fromkeys(
        ("num_beams", "use_beam_search", "best_of", "length_penalty", "early_stopping"),
        "is not taken: vllm has no beam search",
    ),
    "seed": _JOBS_SEED,
    "stop": "is called until by lm-eval",
}

_LM_EVALS = {"until", "do_sample", "max_gen_toks", "max_new_tokens", "max_completion_tokens"}
_TAKEN = (names.SAMPLING | _LM_EVALS) - GENERATION_TOLD.keys()


def _excluded(args: Mapping[str, Any]) -> Iterator[Wrong]:
    """As lm-eval's constructor judges them, and vLLM after it."""
    if args.get("max_length") is not None and args.get("max_model_len") is not None:
        yield Wrong("max_length", "excludes max_model_len: either, but not both")
    if args.get("enable_thinking") and args.get("think_end_token") is None:
        yield Wrong("think_end_token", "is needed where enable_thinking is true")
    if args.get("enable_lora") is False and args.get("lora_local_path"):
        yield Wrong("enable_lora", "must not be false beside lora_local_path")
    if args.get("enable_prefix_caching") is False and args.get("prefix_caching_hash_algo"):
        yield Wrong("prefix_caching_hash_algo", "says nothing where enable_prefix_caching is false")
    tokens, sequences = args.get("max_num_batched_tokens"), args.get("max_num_seqs")
    if isinstance(tokens, int) and isinstance(sequences, int) and tokens < sequences:
        yield Wrong("max_num_batched_tokens", f"must be at least max_num_seqs={sequences}, not {tokens}")
    yield from _proposer_faults(args)


def _proposer_faults(args: Mapping[str, Any]) -> Iterator[Wrong]:
    """A model that drafts is taken by its name; a dotted name is a class that vLLM would import."""
    given = args.get("speculative_config")
    config = given if isinstance(given, dict) else {}
    for path, method, model in (
        ("speculative_config", config.get("method"), config.get("model")),
        ("spec_model", args.get("spec_method"), args.get("spec_model")),
    ):
        dotted = isinstance(model, str) and "." in model and "/" not in model
        if method == "custom_class" or dotted:
            yield Wrong(path, "is not taken with a class of one's own: name a method of vLLM, or a model")


def _contradictions(settings: Mapping[str, Any], whole: bool) -> Iterator[Wrong]:
    """As `SamplingParams` judges them."""
    least = settings.get("min_tokens") or 0
    counts = [settings[name] for name in ("max_gen_toks", "max_new_tokens", "max_tokens") if name in settings]
    most = counts[0] if counts else None
    if whole and isinstance(least, int) and isinstance(most, int) and least > most:
        yield Wrong("min_tokens", f"must be at most max_gen_toks={most}, not {least}")


def arguments(lacking: frozenset[str] = frozenset()) -> Arguments:
    """Those of the newest pinned version, but for what an older one lacks."""
    told = dict(TOLD) | dict.fromkeys(
        _TAKEN - _ARGUMENTS, "is a generation setting: it belongs into gen_kwargs"
    )
    told |= dict.fromkeys(lacking, "is not known to the version of vLLM that runs on CPU")
    return Arguments(
        kinds=MODEL,
        generation_kinds=GENERATION,
        model=Names("argument of vllm", _ARGUMENTS - TOLD.keys(), told),
        generation=Names("generation setting of vllm", frozenset(_TAKEN), GENERATION_TOLD),
        excluded=_excluded,
        contradictions=_contradictions,
        never_null=NEVER_NULL,
        null_is_named=True,
        model_adds=False,
    )
