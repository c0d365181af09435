"""Which vLLM request a log-likelihood needs, and its response from what vLLM gave. Pure; as lm-eval 0.4.13's VLLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import ge
from typing import Any, Protocol

from workers.engine_child.vllm.window import Ask, Read

BROKEN_OFF = frozenset({"abort", "error"})
"""How vLLM says that it ended a request by itself."""

STOCK: Mapping[str, Any] = {"temperature": 0, "prompt_logprobs": 1, "max_tokens": 1, "detokenize": False}
"""Sampling parameters: log-probabilities of the whole prompt; vLLM has to generate a token to give them."""


class Logprob(Protocol):
    """vLLM's own: the log-probability of a token in its place."""

    @property
    def logprob(self) -> float:
        """Natural."""


Row = Mapping[int, Logprob] | None
"""What a place of the prompt may hold: its own token and the likeliest; None in the first place."""


def cut_left(context: Sequence[int], continuation: Sequence[int], max_length: int) -> tuple[list[int], int]:
    """The last tokens that leave room for the one that vLLM generates, and where the continuation begins in them."""
    tokens, most = [*context, *continuation], max_length - 1
    return tokens[-most:], len(context) - max(0, len(tokens) - most)


def cut_tokens(requests: Sequence[Sequence[Sequence[int]]], max_length: int) -> list[int]:
    """How many tokens `cut_left` leaves out of each pair."""
    return [max(0, len(context) + len(continuation) - (max_length - 1)) for context, continuation in requests]


def scored(tokens: Sequence[int], rows: Sequence[Row], start: int) -> tuple[float, bool]:
    """The sum over the tokens from `start` on, and whether each of them is a likeliest one.

    Python's `sum`, since lm-eval has it: from 3.12 on its last bits are others than those of a loop.
    """
    places = [(token, row or {}) for token, row in zip(tokens[start:], rows[start:], strict=True)]
    own = [row[token].logprob for token, row in places]
    likeliest = [max(each.logprob for each in row.values()) for _, row in places]
    return float(sum(own)), all(map(ge, own, likeliest))


def stock_ask(tokens: Sequence[int], start: int, places: Sequence[int]) -> Ask:
    """A whole pair, as lm-eval asks it; the response is that of these places."""

    def read(output: Any) -> Read:
        made(output)
        value = list(scored(tokens, output.prompt_logprobs, start))
        return Read([(place, value) for place in places], len(tokens))

    return Ask(tokens, STOCK, read)


def made(output: Any) -> Any:
    """What was generated; raises where vLLM broke off."""
    generated = output.outputs[0]
    if generated.finish_reason in BROKEN_OFF:
        raise RuntimeError(f"vLLM ended the request before its answer was whole ({generated.finish_reason})")
    return generated
