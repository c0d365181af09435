"""Whether a model can be split, and how much GPU memory it takes: arithmetic with its explanation."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from app.domain.model_facts import DEFAULT_MAX_LENGTH, ModelFacts
from app.errors import FaultyField as Fault

GIB = 2**30
WIDEST = 1024
"""GPUs that a model is shared out to, at most: more than any group has."""
OVERHEAD = 1.2
"""The rule of thumb of evaluation guides: parameters x bytes x 1.2, the rest being activations and the runtime."""

_BYTES = {
    "float32": 4,
    "float": 4,
    "float16": 2,
    "half": 2,
    "bfloat16": 2,
    "float64": 8,
    "float8_e4m3fn": 1,
    "fp8": 1,
}


@dataclass(frozen=True)
class MemoryEstimate:
    """GPU memory that one GPU of a replica needs at least, and why."""

    gib: float
    explanation: tuple[str, ...]


def head_faults(facts: ModelFacts, tp: int, path: str = "model_args.tensor_parallel_size") -> list[Fault]:
    """Tensor parallelism shares out attention heads: their number must be divisible by it.

    Key-value heads may be copied instead: then the GPUs must be divisible by them.
    """
    heads, shared = facts.num_attention_heads, facts.num_key_value_heads
    if not heads or tp <= 1:
        return []
    if _divides(tp, heads, shared):
        return []
    widths = range(1, min(heads, WIDEST) + 1)
    allowed = tuple(str(size) for size in widths if _divides(size, heads, shared))
    kind = f"{heads} attention heads" if heads % tp else f"{shared} key-value heads"
    return [Fault(path, f"{kind} cannot be shared out to {tp} GPUs", allowed)]


def _divides(tp: int, heads: int, shared: int | None) -> bool:
    return heads % tp == 0 and (not shared or shared % tp == 0 or tp % shared == 0)


def memory_per_gpu_gib(
    facts: ModelFacts, dtype: str | None, tp: int = 1, pp: int = 1, max_length: int | None = None
) -> MemoryEstimate | None:
    """Weights with overhead plus the cache of one sequence of full length; None where the files say too little.

    `dtype` is the backend's argument; None and "auto" mean as stored.
    """
    weights = _weights(facts, dtype)
    if weights is None:
        return None
    gpus = tp * pp
    weight_bytes, lines = weights
    total = weight_bytes * OVERHEAD / gpus
    lines.append(f"x {OVERHEAD} overhead / {gpus} GPU{'s' * (gpus > 1)} (TP {tp} x PP {pp}) = {_gib(total)}")
    cache = _cache(facts, dtype, tp, pp, max_length or facts.max_positions or DEFAULT_MAX_LENGTH)
    if cache:
        total += cache[0]
        lines.append(cache[1])
    lines.append(f"at least {_gib(total)} on each GPU")
    return MemoryEstimate(round(total / GIB, 2), tuple(lines))


def _weights(facts: ModelFacts, dtype: str | None) -> tuple[float, list[str]] | None:
    asked = _BYTES.get(dtype or "")
    if facts.parameters and asked and not facts.quantization:
        size = facts.parameters * asked
        return size, [f"weights: {facts.parameters:,} parameters x {asked} bytes ({dtype}) = {_gib(size)}"]
    if facts.weight_bytes:
        kind = facts.quantization or facts.dtype or "their own type"
        return facts.weight_bytes, [
            f"weights: {facts.weight_bytes:,} bytes as stored ({kind}) = {_gib(facts.weight_bytes)}"
        ]
    return None


def _cache(facts: ModelFacts, dtype: str | None, tp: int, pp: int, length: int) -> tuple[float, str] | None:
    layers, heads, width = facts.num_layers, facts.num_key_value_heads, facts.head_dim
    if not (layers and heads and width):
        return None
    size = _BYTES.get(dtype or "") or _BYTES.get(facts.dtype or "") or 2
    layers, heads = ceil(layers / pp), max(1, heads // tp)
    total = 2 * layers * heads * width * size * length
    return total, (
        f"+ cache of one sequence: 2 x {layers} layers x {heads} heads x {width} x {size} bytes "
        f"x {length:,} tokens = {_gib(total)}"
    )


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"
