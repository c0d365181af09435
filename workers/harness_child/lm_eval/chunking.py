"""Chunks for the requests that have no answer yet."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from workers.harness_child.errors import TASK_ERROR, said, sayable
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.cutting import (
    STREAMED,
    Cut,
    Pair,
    Prompt,
    Tokens,
    cut_by_tokens,
    cut_contexts,
    cut_loglikelihoods,
    cut_missing,
    cut_prompts,
    cut_windows,
)
from workers.harness_child.lm_eval.ledger import Ledger
from workers.harness_child.lm_eval.requests import Request, groups_contexts
from workers.harness_child.lm_eval.tokens import encode, encode_pairs
from workers.protocol.engine import ScoringMode
from workers.protocol.harness import ChunkCut, EvaluateOrder, FailureTold
from workers.protocol.payload import RequestKind, ResponseNote, pack_note, pack_requests, pack_response

Cutter = Callable[[Sequence[int]], list[Cut]]


@dataclass(frozen=True)
class _Sheet:
    """Requests of one kind that an engine can answer, what it gets for each, and how to cut them."""

    requests: Sequence[Request]
    items: Callable[[int], object]
    cut: Cutter


class Chunking:
    """Cuts what a ledger misses into chunks."""

    def __init__(self, order: EvaluateOrder, lm: BrokerLM, ledger: Ledger) -> None:
        self._order = order
        self._lm = lm
        self._ledger = ledger
        self.lengths: Counter[int] = Counter()
        """How many requests need which maximum length not to be cut; windows always fit."""
        self._batch_size = _batch_size(order.spec.batch_size, order.spec.max_batch_size)
        whole_batches = order.rules.whole_batches and isinstance(self._batch_size, int)
        self._most = STREAMED if lm.rules.streams else None
        self._shares = order.engine.scoring_mode is ScoringMode.FAST
        self._rows = self._batch_size if whole_batches and isinstance(self._batch_size, int) else 1

    def chunks(self) -> list[ChunkCut]:
        """All chunks, the longest first; requests no engine could answer fail here.

        Those that have what they share computed once stay in the order of tokens, together.
        """
        chunks: list[ChunkCut] = []
        for kind in RequestKind:
            requests = list(self._ledger.requests[kind].values())
            if not all(self._ledger.is_settled(request.key) for request in requests):
                chunks += self._chunks_of(self._sheet(kind, requests))
        together = max((chunk.cost for chunk in chunks if self._stays(chunk)), default=0.0)
        chunks.sort(key=lambda chunk: -together if self._stays(chunk) else -chunk.cost)
        return chunks

    def _stays(self, chunk: ChunkCut) -> bool:
        return self._shares and chunk.kind is RequestKind.LOGLIKELIHOOD

    def _sheet(self, kind: RequestKind, requests: list[Request]) -> _Sheet:
        match kind:
            case RequestKind.LOGLIKELIHOOD:
                return self._loglikelihoods(requests)
            case RequestKind.ROLLING:
                return self._windows(requests)
            case RequestKind.GENERATE:
                return self._generations(requests)

    def _loglikelihoods(self, requests: list[Request]) -> _Sheet:
        requests, pairs = self._made(
            requests, lambda some: encode_pairs(self._lm, [request.args for request in some])
        )
        requests, pairs = self._possible(requests, pairs, self._lm.rules.fault_of_pair)
        for request, pair in zip(requests, pairs, strict=True):
            if (known := self._lm.rules.known(pair)) is not None:
                self._ledger.resolve(request.key, pack_response(known), pack_note(ResponseNote(cut=0)))
        self.lengths.update(map(self._lm.rules.needed_by_pair, pairs))
        grouped = groups_contexts(self._order, self._lm)

        def cut(positions: Sequence[int]) -> list[Cut]:
            some = [pairs[position] for position in positions]
            if self._shares:
                return cut_by_tokens(some, self._most)
            if self._lm.rules.streams:
                return cut_contexts(some)
            return cut_loglikelihoods(some, self._rows, grouped=grouped)

        return _Sheet(requests, lambda position: _as_lists(pairs[position]), cut)

    def _windows(self, requests: list[Request]) -> _Sheet:
        windows = [Pair(*request.args) for request in requests]
        return _Sheet(
            requests,
            lambda position: _as_lists(windows[position]),
            lambda positions: cut_windows([windows[p] for p in positions], self._rows, self._most),
        )

    def _generations(self, requests: list[Request]) -> _Sheet:
        requests, prompts = self._made(requests, self._prompts)
        requests, prompts = self._possible(requests, prompts, self._lm.rules.fault_of_prompt)
        self.lengths.update(int(prompt.cost) for prompt in prompts)
        return _Sheet(
            requests,
            lambda position: _sent(prompts[position]),
            lambda positions: cut_prompts([prompts[p] for p in positions], self._rows, self._most),
        )

    def _made(
        self, requests: list[Request], make: Callable[[list[Request]], list[Any]]
    ) -> tuple[list[Request], list[Any]]:
        """What is sent for each request; where that cannot be made for all, those fail for which it cannot."""
        try:
            return requests, make(requests)
        except Exception:  # noqa: BLE001 - a tokenizer may choke on any text
            kept = [(request, made) for request in requests for made in self._made_alone(request, make)]
            return [request for request, _ in kept], [made for _, made in kept]

    def _made_alone(self, request: Request, make: Callable[[list[Request]], list[Any]]) -> list[Any]:
        try:
            return make([request])
        except Exception as error:  # noqa: BLE001 - likewise
            self._ledger.fail(request.key, FailureTold(TASK_ERROR, sayable(said(error))))
            return []

    def _prompts(self, requests: list[Request]) -> list[Prompt]:
        tokens = encode(self._lm, [request.args[0] for request in requests], together=True)
        return [self._prompt(tokens[request.args[0]], *request.args) for request in requests]

    def _prompt(self, tokens: Tokens, text: str, settings: dict[str, Any]) -> Prompt:
        rules = self._lm.rules
        cost = float(len(tokens) + rules.generated(settings))
        return Prompt(text, len(tokens), settings, cost, tokens.tolist() if rules.sends_tokens else None)

    def _possible(
        self, requests: list[Request], items: list[Any], fault_of: Callable[[Any], str | None]
    ) -> tuple[list[Request], list[Any]]:
        """Leave out and fail what lm-eval would stop the whole run for."""
        faults = [fault_of(item) for item in items]
        for request, fault in zip(requests, faults, strict=True):
            if fault is not None:
                self._ledger.fail(request.key, FailureTold(TASK_ERROR, fault))
        kept = [position for position, fault in enumerate(faults) if fault is None]
        return [requests[position] for position in kept], [items[position] for position in kept]

    def _chunks_of(self, sheet: _Sheet) -> list[ChunkCut]:
        settled = {
            position
            for position, request in enumerate(sheet.requests)
            if self._ledger.is_settled(request.key)
        }
        cuts = cut_missing(len(sheet.requests), settled, sheet.cut)
        return [self._chunk(sheet, cut) for cut in cuts]

    def _chunk(self, sheet: _Sheet, cut: Cut) -> ChunkCut:
        requests = [sheet.requests[position] for position in cut.positions]
        kind, settings = requests[0].kind, None
        if kind is RequestKind.GENERATE:
            settings = requests[0].args[1]
        return ChunkCut(
            kind=kind,
            batch_size=self._batch_size,
            gen_kwargs=settings,
            seed=self._seed() if settings is not None and self._lm.rules.is_sampled(settings) else None,
            cost=cut.cost,
            keys=tuple(request.key for request in requests),
            payload=pack_requests([sheet.items(position) for position in cut.positions]),
        )

    def _seed(self) -> int:
        """From the seed that lm-eval gives torch, which draws its samples; without one each job has its own."""
        seed = self._order.spec.seed[2]
        digest = hashlib.sha256(self._order.job_id.encode() if seed is None else b"%d" % seed).digest()
        return int.from_bytes(digest[:8], "big") >> 1


def _batch_size(given: int | str, most: int | None) -> int | str:
    """As chunks carry it: a number, `auto`, or `auto max N` where the job bounds what is found."""
    if str(given).isdigit():
        return int(given)
    return str(given) if most is None else f"{given} max {most}"


def _as_lists(pair: Pair) -> list[list[int]]:
    return [pair.context.tolist(), pair.continuation.tolist()]


def _sent(prompt: Prompt) -> object:
    return prompt.text if prompt.tokens is None else list(prompt.tokens)
