"""Whether a loaded model can be given trees: what its configuration says, and then a trial."""

from __future__ import annotations

import random
from typing import Any

import torch

from workers.engine_child.hf.sharing import Pairs, TreeScoring

MASKED = frozenset({"eager", "sdpa"})
"""Ways to attend that take any mask."""

BY_LENGTH = frozenset({"dynamic", "longrope"})
"""Rotations that depend on the longest text of a batch."""

CLOSE, CLOSE_IF_NARROW = 1e-3, 0.5
"""Nats a token by which answers may differ that are right, in float32 and in narrower numbers.

Ten times what was seen of models that read trees rightly."""

TRIED = 4096
"""Tokens of a batch, of which a trial has fewer."""

FAR = 100
"""Tokens of each of the trial's longer texts."""

EVERYTHING = 1 << 40
"""The width of a model for which whatever begins alike is worth one tree."""


def unfit(lm: Any) -> str | None:
    """Why this model cannot score fast, in words; None where it can."""
    if lm.backend != "causal":
        return "it is a sequence-to-sequence model"
    try:
        return _said(lm.model.config.get_text_config(), lm.max_length) or _tried(lm)
    except Exception as error:  # noqa: BLE001 - a model's own code may raise anything
        return f"it takes no trees ({type(error).__name__}: {error})"


def _said(config: Any, longest: int) -> str | None:
    attention = getattr(config, "_attn_implementation", None)
    if attention not in MASKED:
        return f"attention {attention} takes no mask of its own"
    if "local" in (getattr(config, "attention_layers", None) or ()):
        return "its local layers count what stands in a row, not in a text"
    window = getattr(config, "sliding_window", None) or 0
    layers = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if 0 < window < longest:
        return f"its layers see {window} tokens of a text that may have {longest}"
    if layers - {"sliding_attention"} or (layers and not window):
        return f"not all of its layers see a whole text ({', '.join(sorted(layers))})"
    rotation = (getattr(config, "rope_parameters", None) or {}).get("rope_type")
    return f"its rope ({rotation}) depends on what is read together" if rotation in BY_LENGTH else None


def _tried(lm: Any) -> str | None:
    """Compares answers about drawn tokens, from trees of unlike lengths, with those that HFLM gets."""
    ends = lm.model.get_input_embeddings(), lm.model.get_output_embeddings()
    pairs = _drawn(min(each.weight.shape[0] for each in ends), min(FAR, lm.max_length // 2))
    expected = lm._loglikelihood_tokens([(None, *pair) for pair in pairs], disable_tqdm=True)
    sharing = TreeScoring(lm, EVERYTHING)
    found = sharing.answers(sharing.rows(pairs, TRIED), TRIED, lambda _: None)
    off = [
        abs(one - other) / len(continuation)
        for (one, _), (other, _), (_, continuation) in zip(found, expected, pairs, strict=True)
    ]
    close = CLOSE if lm.model.dtype.itemsize >= torch.float32.itemsize else CLOSE_IF_NARROW
    right = all(each <= close for each in off)  # NaN is not
    return None if right else f"answers from trees differ by {max(off):.2g} nats a token"


def _drawn(vocabulary: int, far: int) -> Pairs:
    """Two contexts with a beginning in common and one without, each with answers that begin alike and others.

    Four more begin as the first does and go on for so many tokens: in a row the last of them stands far behind what
    it follows, further than its own text is long.
    """
    rng = random.Random(0)  # noqa: S311 - no secrets

    def some(count: int) -> list[int]:
        return [rng.randrange(vocabulary) for _ in range(count)]

    beginning, answer = some(12), some(2)
    return [
        (context, continuation)
        for context in (beginning + some(8), beginning + some(9), some(7))
        for continuation in (answer + some(2), answer + some(3), some(1), some(4))
    ] + [(beginning + some(far), some(3)) for _ in range(4)]
