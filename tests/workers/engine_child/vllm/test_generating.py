"""Texts as vLLM gave them, without vLLM: what is left of them, and why they end."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from workers.engine_child.vllm.generating import Writer
from workers.engine_child.vllm.scoring import cut_left, cut_tokens
from workers.protocol.payload import EndedBy


@dataclass(frozen=True)
class Generated:
    text: str
    finish_reason: str | None
    stop_reason: int | str | None = None


@pytest.mark.parametrize(
    ("made", "text", "ended_by"),
    [
        (Generated("four", "stop"), "four", EndedBy.EOS),
        (Generated("four", "stop", "</s>"), "four", EndedBy.EOS),
        (Generated("four", "stop", "\n"), "four", EndedBy.STOP),
        (Generated("four", "stop", 7), "four", EndedBy.STOP),
        (Generated("four and", "length"), "four and", EndedBy.LENGTH),
        (Generated("let me see</think> four", "length"), "four", EndedBy.LENGTH),
        (Generated("let\nme see</think>four\nand", "length"), "four", EndedBy.STOP),
        (Generated("let\nme", "length"), "let", EndedBy.STOP),
        (Generated("four", "repetition"), "four", None),
    ],
)
def test_a_text_that_vllm_made_knows_why_it_ends(
    made: Generated, text: str, ended_by: EndedBy | None
) -> None:
    writer = Writer(max_length=64, max_gen_toks=8, eos="</s>", think_end_token="</think>")
    answer = writer.text(made, ["\n", "</s>"])
    assert (answer, answer.ended_by) == (text, ended_by)


def test_what_is_cut_off_is_what_is_not_asked() -> None:
    pairs = [(list(range(length)), [7, 8]) for length in range(1, 12)]
    asked = [len(cut_left(context, continuation, 10)[0]) for context, continuation in pairs]
    assert cut_tokens(pairs, 10) == [
        len(a) + len(b) - most for (a, b), most in zip(pairs, asked, strict=True)
    ]
    assert max(asked) == 9
