"""The documents in the model's own tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from app.errors import ToleranceError
from workers.tolerance.documents import AskedDocument
from workers.tolerance.order import ToleranceOrder

Request: TypeAlias = tuple[list[int], list[int]]
"""Tokens of a context and of what continues it."""


def tokenized(documents: Sequence[AskedDocument], order: ToleranceOrder) -> list[list[Request]]:
    """The requests of each document. ToleranceError where the model's tokenizer does not do it."""
    tokenizer = _tokenizer(order)
    whole = tokenizer([document.examples + document.question for document in documents])["input_ids"]
    alone = tokenizer([document.question for document in documents])["input_ids"]
    texts = sorted({choice for document in documents for choice in document.choices})
    choices = dict(zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))
    if not all((*choices.values(), *alone)):
        raise ToleranceError(f"the tokenizer of {order.model} makes no tokens of a text")
    room = _room(order) - max(map(len, choices.values()))
    contexts = (full if len(full) < room else bare for full, bare in zip(whole, alone, strict=True))
    return [
        [(list(context), list(choices[choice])) for choice in document.choices]
        for context, document in zip(contexts, documents, strict=True)
    ]


def _room(order: ToleranceOrder) -> float:
    """Tokens of a prompt: one that is cut shares less with its siblings than those of a job do."""
    length = order.args.get("max_model_len") or order.args.get("max_length")
    return length - 1 if isinstance(length, int) else math.inf


def _tokenizer(order: ToleranceOrder) -> Any:
    from transformers import AutoTokenizer

    args = order.args
    name, revision = args.get("tokenizer"), args.get("tokenizer_revision")
    try:
        return AutoTokenizer.from_pretrained(
            name or order.model,
            revision=revision or (None if name else order.revision) or "main",
            trust_remote_code=bool(args.get("trust_remote_code")),
        )
    except Exception as error:  # noqa: BLE001 - whatever a folder's files or the hub make of it
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ToleranceError(f"the tokenizer of {order.model} cannot be loaded: {words[:300]}") from None
