"""How much memory a model takes on each GPU of a replica: by the guides' rule of thumb, and by arithmetic.

The arithmetic for engines that serve (vLLM) was held against 29 published start-up logs of H100s: weights within 0.7 %,
tokens of cache within 0.7 %. Sizes here are bytes unless their names say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.domain.model_facts import DEFAULT_MAX_LENGTH, ModelFacts
from app.domain.model_weights import AS_STORED, Precision, element_bytes, weights_of

GIB = 2**30
OVERHEAD = 1.2
"""The guides' rule of thumb: parameters x bytes x 1.2 / GPUs, the rest being activations and the runtime."""

SLACK_GIB = 0.5
SLACK_SHARE = 0.03
"""Of a device: what an estimate that fits keeps apart, at least, since it may be off by as much."""

SAMPLER = 3.75 * 4
"""Bytes for each sequence and word of the vocabulary while the next tokens are drawn: logits and copies, in float32."""
EXPERTS_GIB = 0.5
CUDA_GIB, NCCL_GIB, PIPELINE_GIB = 0.27, 2.15, 0.07
LOG_SOFTMAX = 6
"""Bytes for each token and word of the vocabulary at the peak of a log-softmax: 16-bit logits, and a wider copy."""


class Fit(StrEnum):
    """Whether a model fits a device."""

    FITS = "fits"
    TIGHT = "tight"
    """By the arithmetic it does, but by less than what that may be off by."""
    NO = "no"


@dataclass(frozen=True)
class MemoryTerms:
    """How a model will be loaded and asked, as far as memory goes."""

    serves: bool = False
    """Whether the engine takes its share of a device at once, for a cache of many requests, as vLLM does."""
    precision: Precision = AS_STORED
    cache_dtype: str | None = None
    length: int | None = None
    """The longest request that must fit; None: as long as the model's own."""
    utilization: float = 0.9
    """Of a device, what an engine that serves may take."""
    static: float | None = None
    """Of a device, what weights and cache may take; all else must fit beside that. None: they share `utilization`."""
    sequences: int = 1024
    tokens: int = 8192
    """The most that an engine that serves computes at once."""
    batch: int = 1
    limit: int | None = None
    """The most that the engine may take of each device, where its user says so."""


@dataclass(frozen=True)
class Memory:
    """What one GPU of a replica needs, in GiB."""

    rule_gb: float
    """By the rule of thumb, in the guides' GB."""
    weights: float
    activations: float
    runtime: float
    cache: float
    """Of one request of full length."""
    cache_kib_per_token: float | None
    utilization: float = 1.0
    static: float | None = None
    limit: float | None = None
    lines: tuple[str, ...] = ()
    """The arithmetic in words."""

    @property
    def gib(self) -> float:
        """All of it."""
        return self.weights + self.activations + self.runtime + self.cache

    @property
    def card_gib(self) -> float:
        """Memory of the smallest device that it fits."""
        if self.static is None:
            return self.gib / self.utilization
        beside = (self.activations + self.runtime) / max(1 - self.static, 0.01)
        return max((self.weights + self.cache) / self.static, beside)

    def fit(self, device_gib: float) -> Fit:
        """Whether it fits a device of this size."""
        room = self._room(device_gib)
        if room < 0:
            return Fit.NO
        return Fit.FITS if room >= max(SLACK_GIB, SLACK_SHARE * device_gib) else Fit.TIGHT

    def _room(self, device_gib: float) -> float:
        """What is left of a device, where it is least."""
        if self.static is None:
            return min(device_gib * self.utilization, self.limit or device_gib) - self.gib
        kept = device_gib * self.static - self.weights - self.cache
        return min(kept, device_gib * (1 - self.static) - self.activations - self.runtime)


def memory_of(facts: ModelFacts, terms: MemoryTerms, tensor: int = 1, pipeline: int = 1) -> Memory | None:
    """On each GPU; None where nothing tells how large the weights are."""
    weights = weights_of(facts, terms.precision, narrow=terms.serves)
    if weights is None:
        return None
    gpus = tensor * pipeline
    rule = weights.nominal * OVERHEAD / gpus / 1e9
    share = weights.bytes / gpus
    how = f"TP {tensor} x PP {pipeline}" if terms.serves or tensor > 1 else "by layers"
    lines = [weights.says, *([f"/ {gpus} GPUs ({how}) = {_gib(share)}"] * (gpus > 1))]
    parts = _Parts(facts, terms, tensor, pipeline)
    found = parts.found(share)
    lines += [*found.lines, f"the rule of thumb (parameters x bytes x {OVERHEAD} / GPUs) says {rule:.1f} GB"]
    utilization = terms.utilization if terms.serves and parts.known else 1.0
    return Memory(
        rule,
        share / GIB,
        found.activations / GIB,
        found.runtime,
        found.cache / GIB,
        parts.token_bytes / 1024 or None,
        utilization,
        terms.static if parts.known else None,
        _limit(terms),
        tuple(lines),
    )


def largest_batch(memory: Memory, device_gib: float, batch: int = 1) -> int:
    """Requests of full length that fit a device at once, where `memory` was reckoned for `batch` of them."""
    each = (memory.activations + memory.cache) / batch
    room = min(device_gib, memory.limit or device_gib) - memory.weights - memory.runtime
    return max(0, int(room / each)) if each > 0 else batch


@dataclass(frozen=True)
class _Found:
    activations: float
    runtime: float
    cache: float
    lines: tuple[str, ...]


class _Parts:
    """What is needed beside weights, by the model's shape."""

    def __init__(self, facts: ModelFacts, terms: MemoryTerms, tensor: int, pipeline: int) -> None:
        self._facts = facts
        self._terms = terms
        self._tensor = tensor
        self._pipeline = pipeline
        self._layers = facts.num_layers or 0
        self._hidden = facts.hidden_size or 0
        self._vocab = facts.vocab_size or 0
        self._wide = facts.intermediate_size or 4 * self._hidden
        longest = facts.max_positions or DEFAULT_MAX_LENGTH
        unasked = longest if terms.serves else min(longest, DEFAULT_MAX_LENGTH)
        self._length = terms.length or unasked

    @property
    def known(self) -> bool:
        facts = self._facts
        return bool(
            self._layers and self._hidden and self._vocab and facts.num_key_value_heads and facts.head_dim
        )

    @property
    def token_bytes(self) -> float:
        """Cache that one GPU keeps for a token, over all layers."""
        return self._layers / self._pipeline * self._layer_bytes

    @property
    def _layer_bytes(self) -> float:
        facts = self._facts
        if facts.latent_width and self._terms.serves:
            return facts.latent_width * self._cache_bytes
        heads = max(1, (facts.num_key_value_heads or 1) / self._tensor)
        return 2 * heads * (facts.head_dim or 0) * self._cache_bytes

    @property
    def _cache_bytes(self) -> float:
        """Of a number of the cache; engines that serve keep no wide ones."""
        if not self._terms.serves:
            return self._wide_bytes
        return element_bytes(self._terms.cache_dtype) or min(2, self._wide_bytes)

    @property
    def _wide_bytes(self) -> float:
        """Of a number that is computed with: quantized weights are computed with in 16 bits."""
        return max(2, element_bytes(self._terms.precision.dtype) or element_bytes(self._facts.dtype) or 2)

    def _request_bytes(self) -> float:
        """Cache of one request of full length; a layer with a window keeps no more than that."""
        window, windowed = self._facts.sliding_window, self._facts.windowed_layers or 0
        kept = min(self._length, window) if window else self._length
        layers = (self._layers - windowed) * self._length + windowed * kept
        return layers / self._pipeline * self._layer_bytes

    def found(self, weights: float) -> _Found:
        """All of it beside one GPU's share of the weights."""
        if not self.known:
            return self._by_the_rule(weights)
        return self._of_server() if self._terms.serves else self._of_batch()

    def _by_the_rule(self, weights: float) -> _Found:
        """A fifth of the weights, and a cache as far as its shape is known."""
        rest, cache = weights * (OVERHEAD - 1), self._request_bytes()
        lines = [f"+ a fifth for all else, since the model's shape is not known = {_gib(rest)}"]
        lines += [f"+ cache of one request of {self._length:,} tokens = {_gib(cache)}"] * (cache > 0)
        return _Found(rest, 0.0, cache, tuple(lines))

    def _of_server(self) -> _Found:
        terms = self._terms
        drawing = SAMPLER * terms.sequences * self._vocab
        computing = terms.tokens * (4 * self._hidden + 3 * self._wide / self._tensor) * 2
        activations = max(drawing, computing) + (EXPERTS_GIB * GIB if self._facts.num_experts else 0)
        runtime = NCCL_GIB if self._tensor > 1 else CUDA_GIB + (PIPELINE_GIB if self._pipeline > 1 else 0)
        cache = self._request_bytes()
        at_once = f"{terms.tokens:,} tokens and {terms.sequences:,} sequences at once"
        tokens = f"{self._length:,} tokens ({self.token_bytes / 1024:g} KiB each)"
        lines = (
            f"+ activations of {at_once} = {_gib(activations)}",
            f"+ CUDA{' and NCCL' * (self._tensor > 1)} = {runtime:.2f} GiB",
            f"+ cache of one request of {tokens} = {_gib(cache)}",
        )
        return _Found(activations, runtime, cache, lines)

    def _of_batch(self) -> _Found:
        terms = self._terms
        tokens = terms.batch * self._length
        peak, cache = tokens * self._vocab * LOG_SOFTMAX, terms.batch * self._request_bytes()
        requests = f"{terms.batch:,} request{'s' * (terms.batch > 1)} of {self._length:,} tokens"
        lines = (
            f"+ log-softmax of {requests}: x {self._vocab:,} words x {LOG_SOFTMAX} bytes = {_gib(peak)}",
            f"+ their cache while they generate = {_gib(cache)}",
        )
        return _Found(peak, 0.0, cache, lines)


def _limit(terms: MemoryTerms) -> float | None:
    return terms.limit / GIB if terms.limit else None


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"
