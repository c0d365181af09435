"""Tokens, exactly as lm-eval makes them, but in batches and each text once.

lm-eval encodes a multiple-choice context twice for every choice; here a text is encoded once per slab.
Tokens are kept in arrays: a job may hold tens of millions of them.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence

from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from workers.harness_child.errors import TASK_ERROR, TaskFailedError
from workers.harness_child.lm_eval.broker_lm import BrokerLM, encode_options
from workers.harness_child.lm_eval.cutting import Pair, Tokens

_SLAB = 512
"""Pairs or texts per call; what a tokenizer returns beside the ids is many times their size."""


def encode(
    lm: BrokerLM, texts: Iterable[str], special_tokens: bool | None = None, *, together: bool = False
) -> dict[str, Tokens]:
    """`lm.tok_encode` of every distinct text, or of all of them together: an empty text may differ."""
    alike: dict[bool | None, list[str]] = defaultdict(list)
    for text in dict.fromkeys(texts):
        if not text and not (together or lm.rules.empty_has_tokens):
            continue
        alike[lm.special_tokens(text, special_tokens)].append(text)
    encoded: dict[str, Tokens] = {"": array("I")}
    for flag, group in alike.items():
        for start in range(0, len(group), _SLAB):
            slab = group[start : start + _SLAB]
            encoded.update(zip(slab, _encode_slab(lm, slab, flag), strict=True))
    return encoded


def encode_pairs(lm: BrokerLM, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
    """(context, continuation) as TemplateLM.loglikelihood encodes them."""
    encoded: list[Pair] = []
    for start in range(0, len(pairs), _SLAB):
        encoded += _encode_pairs(lm, [_trimmed(*pair) for pair in pairs[start : start + _SLAB]])
    return encoded


def rolling_windows(lm: BrokerLM, tokens: Tokens) -> list[Pair]:
    """The windows in which lm-eval scores a text of these tokens."""
    most = lm.rules.window_length
    if most < 1:
        raise TaskFailedError(TASK_ERROR, f"max_length {lm.max_length} holds no window of a rolling text")
    windows = get_rolling_token_windows(
        token_list=tokens.tolist(), prefix_token=lm.prefix_token_id, max_seq_len=most, context_len=1
    )
    return [Pair(*(array("I", part) for part in make_disjoint_window(window))) for window in windows]


def _encode_slab(lm: BrokerLM, texts: list[str], special_tokens: bool | None) -> list[Tokens]:
    options = encode_options(special_tokens)
    if lm.tokenizer.is_fast:
        ids = lm.tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, **options)[
            "input_ids"
        ]
    else:
        ids = [lm.tokenizer.encode(text, **options) for text in texts]
    return [array("I", tokens) for tokens in ids]


def _trimmed(context: str, continuation: str) -> tuple[str | None, str]:
    """Spaces that end the context begin the continuation; None stands for no context at all."""
    if context == "":
        return None, continuation
    trimmed = context.rstrip()
    return trimmed, context[len(trimmed) :] + continuation


def _encode_pairs(lm: BrokerLM, pairs: Sequence[tuple[str | None, str]]) -> list[Pair]:
    causal = lm.backend == "causal"
    bare = encode(lm, [cont for ctx, cont in pairs if ctx is None or not causal], special_tokens=False)
    full = encode(
        lm,
        [
            text
            for ctx, cont in pairs
            if ctx is not None
            for text in ((ctx, ctx + cont) if causal else (ctx,))
        ],
    )
    encoded = []
    for context, continuation in pairs:
        if context is None:
            encoded.append(_after_prefix(lm, bare[continuation]))
        elif causal:
            whole, tokens = full[context + continuation], full[context]
            encoded.append(Pair(tokens, whole[len(tokens) :]))
        else:
            encoded.append(Pair(full[context], bare[continuation]))
    return encoded


def _after_prefix(lm: BrokerLM, continuation: Tokens) -> Pair:
    """Without a context the first token is scored after the prefix token, unless it is that token."""
    if continuation[:1] == array("I", [lm.prefix_token_id]):
        return Pair(continuation[:1], continuation[1:])
    return Pair(array("I", [lm.prefix_token_id]), continuation)
