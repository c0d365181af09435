"""Which vLLM request a generation needs, and its response from the text that vLLM gave; as lm-eval 0.4.13's VLLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from lm_eval.models.utils import (
    handle_stop_sequences,
    maybe_truncate,
    normalize_gen_kwargs,
    postprocess_generated_text,
)

from workers.engine_child.contract import GeneratedText
from workers.protocol.engine import Draws
from workers.protocol.payload import EndedBy

KEPT: Mapping[str, Any] = {"skip_special_tokens": False, "spaces_between_special_tokens": False}
"""lm-eval keeps special tokens in the text, and cuts it at its stop strings afterwards."""


class Completion(Protocol):
    """What vLLM generated."""

    @property
    def text(self) -> str:
        """Without the stop string that ended it."""

    @property
    def finish_reason(self) -> str | None:
        """`stop` or `length`."""

    @property
    def stop_reason(self) -> int | str | None:
        """The stop string or token; None after the end of sequence."""


@dataclass(frozen=True)
class Writer:
    """How generations are asked for on one loaded model."""

    max_length: int
    max_gen_toks: int
    eos: str | None
    """The text of the tokenizer's end of sequence."""
    truncation_side: str = "left"
    think_end_token: str | None = None

    def settings(self, gen_kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Sampling parameters as vLLM names them, and the strings that the text ends before.

        Where a task asks for neither sampling nor a temperature, lm-eval notes greedy decoding and then samples at
        vLLM's own temperature of 1: what it notes is done here.
        """
        given: dict[str, Any] = dict(normalize_gen_kwargs(dict(gen_kwargs), self.max_gen_toks))
        until = handle_stop_sequences(given.pop("until"), eos=self.eos)
        most = int(given.pop("max_gen_toks"))
        if not given.pop("do_sample"):
            given["temperature"] = 0.0
        stop = [text for text in until if text == self.eos] if self.think_end_token else until
        return {**KEPT, **given, "max_tokens": most, "stop": stop}, until

    def prompt(self, tokens: Sequence[int], params: Mapping[str, Any]) -> list[int]:
        """The prompt, cut where it and what is generated do not fit together."""
        most = params["max_tokens"]
        kept: list[int]
        kept, _ = maybe_truncate(
            list(tokens),
            max_gen_toks=most,
            max_model_len=self.max_length,
            side=self.truncation_side,
            verbose=False,
        )
        return kept

    def text(self, made: Completion, until: list[str]) -> GeneratedText:
        """The response: what stands before the first stop string, after the thinking."""
        whole: str = postprocess_generated_text(made.text, None, self.think_end_token)
        kept: str = postprocess_generated_text(made.text, until, self.think_end_token)
        return GeneratedText(kept, EndedBy.STOP if kept != whole else self._end(made))

    def _end(self, made: Completion) -> EndedBy | None:
        match made.finish_reason:
            case "length":
                return EndedBy.LENGTH
            case "stop":
                return EndedBy.EOS if made.stop_reason in {None, self.eos} else EndedBy.STOP
            case _:
                return None


def seeds(draws: Draws | None, count: int) -> list[int | None]:
    """A seed for every request, so that its sample depends on nothing that is answered beside it."""
    if draws is None:
        return [None] * count
    return [_seed(draws.seed, request) for request in draws.requests]


def _seed(seed: int, request: bytes) -> int:
    return int.from_bytes(sha256(b"%d " % seed + request).digest()[:8], "big") >> 1
