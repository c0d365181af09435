"""Whether a model's attention heads can be shared out: what tensor parallelism needs."""

from __future__ import annotations

from app.domain.model_facts import ModelFacts
from app.errors import FaultyField

WIDEST = 1024
"""GPUs that a model is shared out to, at most: more than any group has."""


def head_faults(
    facts: ModelFacts, tensor: int, path: str = "model_args.tensor_parallel_size"
) -> list[FaultyField]:
    """The number of heads must be divisible; key-value heads may be copied instead: then GPUs are divisible by them."""
    heads, shared = facts.num_attention_heads, facts.num_key_value_heads
    if not heads or can_share_out(facts, tensor):
        return []
    widths = range(1, min(heads, WIDEST) + 1)
    allowed = tuple(str(width) for width in widths if can_share_out(facts, width))
    kind = f"{heads} attention heads" if heads % tensor else f"{shared} key-value heads"
    return [FaultyField(path, f"{kind} cannot be shared out to {tensor} GPUs", allowed)]


def can_share_out(facts: ModelFacts, tensor: int) -> bool:
    """Whether so many GPUs get equal shares, as far as is known."""
    heads, shared = facts.num_attention_heads, facts.num_key_value_heads
    if not heads or tensor <= 1:
        return True
    return heads % tensor == 0 and (not shared or shared % tensor == 0 or tensor % shared == 0)
