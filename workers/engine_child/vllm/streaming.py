"""The vLLM engine: `LLM`'s own engine, stepped by hand, so that requests of many chunks run together.

lm-eval's class is not used: its answers are, and the tests compare them to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from vllm import SamplingParams
from vllm.lora.request import LoRARequest
from vllm.v1.engine.exceptions import EngineDeadError

from workers.engine_child.contract import OpenChunk, Outcome, Reports
from workers.engine_child.vllm.facts import facts
from workers.engine_child.vllm.flight import LLMFlight
from workers.engine_child.vllm.generating import Writer, seeds
from workers.engine_child.vllm.measuring import measures
from workers.engine_child.vllm.scoring import STOCK, cut_left, scored
from workers.engine_child.vllm.watch import Guard
from workers.engine_child.vllm.window import Ask, Window
from workers.protocol.engine import EngineRecipe
from workers.protocol.payload import RequestKind

BROKEN_OFF = frozenset({"abort", "error"})
"""How vLLM says that it ended a request by itself."""


class VLLMEngine:
    """A loaded model with requests in flight."""

    def __init__(
        self, llm: Any, recipe: EngineRecipe, reports: Reports, guard: Guard, environment: str
    ) -> None:
        args, engine = recipe.args, llm.llm_engine
        self.window = 2 * engine.vllm_config.scheduler_config.max_num_seqs
        self._max_length = engine.model_config.max_model_len
        self._writer = Writer(
            max_length=self._max_length,
            max_gen_toks=int(args.get("max_gen_toks") or 256),
            eos=_eos(llm.get_tokenizer()),
            truncation_side=args.get("truncation_side") or "left",
            think_end_token=args.get("think_end_token"),
        )
        lora = _lora(args)
        if lora:
            engine.add_lora(
                lora
            )  # a wrong one is refused here; the first request with it would end the engine
        self._window = Window(LLMFlight(engine, lora), self.window, reports)
        self._guard = guard
        self.provenance: Mapping[str, Any] = {**facts(engine.vllm_config), "environment": environment}
        self.measured: Mapping[str, float] = measures(llm)

    def add(self, chunk: OpenChunk) -> None:
        """Take a chunk in hand; raises for settings that vLLM does not know."""
        asks = self._generations(chunk) if chunk.kind is RequestKind.GENERATE else self._scores(chunk)
        self._window.add(chunk.id, list(asks))

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        """What ended meanwhile; it waits so short a time that nothing is heard in its midst."""
        del hear
        try:
            return self._window.step()
        except EngineDeadError:
            self._guard.explain()
            raise

    def drop(self, chunks: Collection[UUID]) -> None:
        """Abort what is in flight for these chunks."""
        self._window.drop(chunks)

    def _scores(self, chunk: OpenChunk) -> Iterable[Ask]:
        for context, continuation in chunk.requests:
            tokens, start = cut_left(context, continuation, self._max_length)
            yield Ask(tokens, STOCK, _score_of(tokens, start))

    def _generations(self, chunk: OpenChunk) -> Iterable[Ask]:
        params, until = self._writer.settings(chunk.gen_kwargs)
        SamplingParams(**params)  # raises for what it does not know
        for tokens, seed in zip(chunk.requests, seeds(chunk.draws, len(chunk.requests)), strict=True):
            prompt = self._writer.prompt(tokens, params)
            yield Ask(prompt, params if seed is None else {**params, "seed": seed}, self._text_of(until))

    def _text_of(self, until: list[str]) -> Callable[[Any], tuple[str, int]]:
        def read(output: Any) -> tuple[str, int]:
            made = _made(output)
            tokens = len(output.prompt_token_ids) + len(made.token_ids)
            return self._writer.text(made.text, until), tokens

        return read


def _made(output: Any) -> Any:
    """What was generated; raises where vLLM broke off."""
    made = output.outputs[0]
    if made.finish_reason in BROKEN_OFF:
        raise RuntimeError(f"vLLM ended the request before its answer was whole ({made.finish_reason})")
    return made


def _score_of(tokens: Sequence[int], start: int) -> Callable[[Any], tuple[list[Any], int]]:
    def read(output: Any) -> tuple[list[Any], int]:
        _made(output)
        return list(scored(tokens, output.prompt_logprobs, start)), len(tokens)

    return read


def _eos(tokenizer: Any) -> str | None:
    """The text of the end of sequence, as lm-eval finds it."""
    decoded: str = tokenizer.decode(tokenizer.eos_token_id)
    return decoded or getattr(tokenizer, "eos_token", None)


def _lora(args: Mapping[str, Any]) -> LoRARequest | None:
    """What goes with every request, where there is an adapter."""
    path = args.get("lora_local_path")
    return LoRARequest("finetuned", 1, path) if path else None
