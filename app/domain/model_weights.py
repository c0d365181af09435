"""How large a model's weights are once they are loaded, in the types that they are loaded in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.model_facts import ModelFacts

GIB = 2**30

_BYTES: Mapping[str, float] = {
    "float64": 8, "float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1,
    "fp8_e5m2": 1, "float8_e4m3fn": 1, "int8": 1,
}  # fmt: skip
_BITS = re.compile(r"(\d{1,2})-bit")
_METHODS: Mapping[str, tuple[int, float]] = {
    "fp8": (8, 0), "fbgemm_fp8": (8, 0), "modelopt": (8, 0), "int8": (8, 0), "awq": (4, 0.15625), "gptq": (4, 0.15625),
    "bitsandbytes": (8, 0), "mxfp4": (4, 0.25), "nvfp4": (4, 0.5), "int": (8, 0),
}  # fmt: skip
"""Bits of a number unless they are named, and what its scale and zero point add to each of 4 bits."""


@dataclass(frozen=True)
class Precision:
    """What a job says of the types that weights are loaded in."""

    dtype: str | None = None
    """None and "auto" mean as stored."""
    quantization: str | None = None
    """Asked for while loading."""


AS_STORED = Precision()


@dataclass(frozen=True)
class Weights:
    """Of the whole model."""

    bytes: float
    nominal: float
    """By the rule of thumb: parameters x bytes."""
    says: str


def element_bytes(dtype: str | None) -> float | None:
    """Of one number; None for a type that is not known."""
    return _BYTES.get((dtype or "").removeprefix("torch."))


def weights_of(facts: ModelFacts, precision: Precision, *, narrow: bool) -> Weights | None:
    """None where nothing tells how many there are; `narrow`: the engine halves what is stored in 32 bits."""
    if method := precision.quantization or facts.quantization:
        return _quantized(facts, method)
    asked, stored = element_bytes(precision.dtype), element_bytes(facts.dtype)
    halved = narrow and asked is None and (stored or 0) > 2
    loaded = asked or (stored if facts.weight_bytes else None)  # of files engines keep the model's own dtype
    if facts.parameters and (loaded or halved):
        size = 2 if halved else loaded or 2
        named = precision.dtype if asked else facts.dtype
        return _full(facts.parameters, size, "16 bits" if halved else named or "")
    if facts.weight_bytes:
        return Weights(facts.weight_bytes, facts.weight_bytes, _as_stored(facts, facts.dtype))
    if not facts.parameters:
        return None
    return _full(facts.parameters, stored or 2, facts.dtype if stored and facts.dtype else "16 bits")


def _full(parameters: int, size: float, dtype: str) -> Weights:
    total = parameters * size
    return Weights(
        total, total, f"weights: {parameters:,} parameters x {size:g} bytes ({dtype}) = {_gib(total)}"
    )


def _quantized(facts: ModelFacts, method: str) -> Weights | None:
    """As stored where it is stored so; else every matrix of the layers at its bits, and the rest at 16."""
    bits, scale = bits_of(method)
    stored = facts.weight_bytes if facts.quantization else None
    if not facts.parameters:
        return Weights(stored, stored, _as_stored(facts, method)) if stored else None
    nominal = facts.parameters * bits / 8
    if stored:
        return Weights(stored, nominal, _as_stored(facts, method))
    packed = facts.quantizable or facts.parameters
    rest = facts.parameters - packed
    total = packed * (bits + scale) / 8 + rest * 2
    says = f"weights: {packed:,} parameters x {bits + scale:g} bits ({method})"
    says += f" + {rest:,} x 2 bytes" if rest > 0 else ""
    return Weights(total, nominal, f"{says} = {_gib(total)}")


def bits_of(method: str) -> tuple[int, float]:
    """Bits of one number under a quantization, and what is stored beside them."""
    bits, scale = _METHODS.get(re.split(r"[ -]", method.lower())[0], (8, 0))
    named = _BITS.search(method)
    if named:
        bits = int(named[1])
        scale = (scale or 0.15625) if bits <= 4 else 0
    return bits, scale


def _as_stored(facts: ModelFacts, kind: str | None) -> str:
    size = facts.weight_bytes or 0
    return f"weights: {size:,} bytes as stored ({kind or 'their own type'}) = {_gib(size)}"


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"
