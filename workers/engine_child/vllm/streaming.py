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
from workers.engine_child.vllm.forking import CacheShape, asks_of
from workers.engine_child.vllm.generating import Writer, seeds
from workers.engine_child.vllm.measuring import measures
from workers.engine_child.vllm.scoring import cut_left, cut_tokens, made, stock_ask
from workers.engine_child.vllm.watch import Guard
from workers.engine_child.vllm.window import Ask, Read, Window
from workers.protocol.engine import EngineRecipe, ScoringMode
from workers.protocol.payload import RequestKind

SERVED_AT_ONCE = 4
"""Requests that one of vLLM's answers, where choices are letters."""


class VLLMEngine:
    """A loaded model with requests in flight."""

    def __init__(
        self, llm: Any, recipe: EngineRecipe, reports: Reports, guard: Guard, environment: str
    ) -> None:
        args, engine = recipe.args, llm.llm_engine
        flying = 2 * engine.vllm_config.scheduler_config.max_num_seqs
        self._max_length = engine.model_config.max_model_len
        self._shares = recipe.scoring_mode is ScoringMode.FAST
        self.window = flying * (SERVED_AT_ONCE if self._shares else 1)
        cache = engine.vllm_config.cache_config
        self._cache = CacheShape(
            cache.block_size if cache.enable_prefix_caching else None, engine.model_config.get_vocab_size()
        )
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
        self._window = Window(LLMFlight(engine, lora), flying, reports)
        self._guard = guard
        self.provenance: Mapping[str, Any] = {
            **facts(engine.vllm_config),
            "scoring_mode": recipe.scoring_mode,
            "environment": environment,
        }
        self.measured: Mapping[str, float] = measures(llm)

    def add(self, chunk: OpenChunk) -> None:
        """Take a chunk in hand; raises for settings that vLLM does not know."""
        if chunk.kind is RequestKind.GENERATE:
            asks = list(self._generations(chunk))
            cuts = [len(asked) - len(ask.tokens) for asked, ask in zip(chunk.requests, asks, strict=True)]
        else:
            asks = list(self._scores(chunk))
            cuts = cut_tokens(chunk.requests, self._max_length)
        self._window.add(chunk.id, cuts, asks)

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
        if self._shares and chunk.kind is RequestKind.LOGLIKELIHOOD:
            return asks_of(chunk.requests, self._max_length, self._cache)
        cut = (cut_left(context, answer, self._max_length) for context, answer in chunk.requests)
        return (stock_ask(tokens, start, [place]) for place, (tokens, start) in enumerate(cut))

    def _generations(self, chunk: OpenChunk) -> Iterable[Ask]:
        params, until = self._writer.settings(chunk.gen_kwargs)
        SamplingParams(**params)  # raises for what it does not know
        for place, seed in enumerate(seeds(chunk.draws, len(chunk.requests))):
            prompt = self._writer.prompt(chunk.requests[place], params)
            asked = params if seed is None else {**params, "seed": seed}
            yield Ask(prompt, asked, self._text_of(place, until))

    def _text_of(self, place: int, until: list[str]) -> Callable[[Any], Read]:
        def read(output: Any) -> Read:
            answer = made(output)
            tokens = len(output.prompt_token_ids) + len(answer.token_ids)
            return Read([(place, self._writer.text(answer, until))], tokens)

        return read


def _eos(tokenizer: Any) -> str | None:
    """The text of the end of sequence, as lm-eval finds it."""
    decoded: str = tokenizer.decode(tokenizer.eos_token_id)
    return decoded or getattr(tokenizer, "eos_token", None)


def _lora(args: Mapping[str, Any]) -> LoRARequest | None:
    """What goes with every request, where there is an adapter."""
    path = args.get("lora_local_path")
    return LoRARequest("finetuned", 1, path) if path else None
