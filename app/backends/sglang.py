"""SGLang, as lm-eval's SGLangLM loads it: known so that its commands are planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.arguments.kinds import number, whole
from app.backends.arguments import Arguments, Wrong
from app.backends.backend import Backend
from app.backends.known_arguments import MODEL_ARGS
from app.backends.memory_names import MemoryNames
from app.backends.parallelism import ArgumentNames
from app.domain.ways_out import Levers


def _excluded(args: Mapping[str, Any]) -> Iterator[Wrong]:
    if args.get("context_length") is not None and args.get("max_model_len") is not None:
        yield Wrong("context_length", "excludes max_model_len: either, but not both")


_TOKENS = MODEL_ARGS["max_model_len"]

BACKEND = Backend(
    name="sglang",
    model_names=("sglang",),
    planned_only=True,
    devices=frozenset({"cuda"}),
    arguments=Arguments(
        kinds={
            **MODEL_ARGS,
            "chunked_prefill_size": whole(-1),
            "context_length": _TOKENS,
            "max_running_requests": whole(1),
            "mem_fraction_static": number(0, 1, above=True),
        },
        excluded=_excluded,
    ),
    parallelism=ArgumentNames(("tp_size",), ("pp_size",), ("dp_size",), ("nnodes",)),
    memory=MemoryNames(
        serves=True,
        lengths=("max_model_len", "context_length"),
        cache_dtype="kv_cache_dtype",
        static="mem_fraction_static",
        sequences="max_running_requests",
        tokens="chunked_prefill_size",
        quantization="quantization",
        levers=Levers(
            "context_length",
            "tp_size",
            "pp_size",
            cache_dtype=("kv_cache_dtype", "fp8_e5m2"),
            fewer_bits=(("quantization", "fp8", "fp8"),),
        ),
    ),
)
