"""Fast scoring: log-likelihoods of trees, in which what requests begin with alike is read once.

A row of a batch is a tree. Its tokens see those that stand before them in their own text, by a mask of its own, in the
places that they have there; the output layer is spared the tokens that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch.nn.functional import log_softmax

from workers.engine_child.hf.trees import ScoredText, Tree, batches, trees

Pairs: TypeAlias = Sequence[tuple[list[int], list[int]]]
"""Contexts and continuations."""

NARROW, WIDER = 2048, 2
"""Tokens of a row that are few on any machine, and how much wider than a text a tree may be where there are more."""


class TreeScoring:
    """A loaded causal model that is given trees."""

    def __init__(self, lm: Any, width: int | None = None) -> None:
        """Trees grow as they pay for a model of this width; by default its own."""
        self._lm = lm
        self._width: int = width or lm.model.config.get_text_config().hidden_size
        self._dtype = lm.mixed_precision_dtype or lm.model.dtype

    def rows(self, pairs: Pairs, most: int) -> list[Tree]:
        """The trees of these requests, each of at most so many tokens or of one request."""
        requests = list(map(self._scored, range(len(pairs)), pairs))
        longest = max(len(request.tokens) - 1 for request in requests)
        return trees(requests, self._width, min([most, *_bounds(self._lm, longest)]))

    def answers(self, rows: Sequence[Tree], most: int, tell: Callable[[int], None]) -> list[list[Any]]:
        """HFLM's response to each request, in their order, from batches of at most so many tokens.

        `tell` hears how many more are answered after each batch; what it raises ends them.
        """
        found: dict[int, list[Any]] = {}
        for batch in batches(rows, most):
            found.update(self._batch(batch))
            tell(sum(len(tree.scored) for tree in batch))
        return [found[place] for place in range(len(found))]

    def _scored(self, place: int, pair: tuple[list[int], list[int]]) -> ScoredText:
        """Cut as HFLM cuts it."""
        context, continuation = pair
        most = self._lm.max_length
        if not context or not 0 < len(continuation) <= most:
            raise ValueError(f"a request has a context, and from 1 to {most} tokens to score")
        tokens = [*context, *continuation][-(most + 1) :]
        return ScoredText(place, tokens, len(tokens) - len(continuation))

    def _batch(self, batch: Sequence[Tree]) -> Iterator[tuple[int, list[Any]]]:
        width = len(batch[0].tokens)
        asked = [each for tree in batch for each in tree.scored]
        before = torch.tensor(
            [row * width + at for row, tree in enumerate(batch) for _, _, ats in tree.scored for at in ats]
        )
        kept, places = before.unique(return_inverse=True)
        told = log_softmax(self._logits(batch, kept), dim=-1, dtype=self._lm.softmax_dtype)
        tokens = list(chain.from_iterable(tokens for _, tokens, _ in asked))
        row_of, token_of = torch.stack([places, torch.tensor(tokens)]).to(told.device)
        likeliest = told.argmax(dim=-1)[row_of] == token_of
        lengths = [len(tokens) for _, tokens, _ in asked]
        sums = _by_request(told[row_of, token_of], lengths, 0).sum(dim=1)
        greedy = _by_request(likeliest, lengths, 1).all(dim=1)
        for (place, _, _), value, is_greedy in zip(asked, *_fetched(sums, greedy), strict=True):
            yield place, [value, bool(is_greedy)]

    def _logits(self, batch: Sequence[Tree], kept: torch.Tensor) -> torch.Tensor:
        """Of these places of the batch alone, counted through its rows."""
        device = self._lm.device
        columns = [
            [tree.tokens for tree in batch],
            [tree.depths for tree in batch],
            [tree.ends for tree in batch],
        ]
        tokens, depths, ends = _padded(columns, len(batch[0].tokens)).to(device)
        autocast = torch.autocast(
            device.type, self._lm.mixed_precision_dtype, enabled=self._lm.mixed_precision_dtype is not None
        )
        with torch.no_grad(), autocast, _telling_of(self._lm.model, kept):
            logits: torch.Tensor = self._lm.model(
                tokens, attention_mask=self._mask(ends), position_ids=depths, use_cache=False
            ).logits
        return logits[0]

    def _mask(self, ends: torch.Tensor) -> torch.Tensor:
        """What is added where a token looks at another: nothing before itself in its own text, else the least."""
        at = torch.arange(ends.shape[1], device=ends.device)
        seen = (at[:, None] >= at) & (at[:, None] < ends[:, None, None, :])
        seen |= at[:, None] == at  # what fills a row sees something, too
        nothing = torch.zeros(seen.shape, dtype=self._dtype, device=ends.device)
        return nothing.masked_fill_(~seen, torch.finfo(self._dtype).min)


def _bounds(lm: Any, longest: int) -> Iterator[int]:
    """Tokens that a row may have, whatever a tree is worth, where the longest text read has so many.

    A model that keeps a mask has it by rows. And where memory that runs out ends the process, or attention holds all
    that it computes, what grows with the square of a row stays near to what a text takes.
    """
    shapes = (each.shape[-2:] for each in lm.model.buffers() if each.dim() > 1)
    yield from (columns for rows, columns in shapes if rows == columns >= longest)
    if lm.device.type == "cpu" or lm.model.config.get_text_config()._attn_implementation == "eager":
        yield WIDER * max(longest, NARROW)


@contextmanager
def _telling_of(model: Any, kept: torch.Tensor) -> Iterator[None]:
    """Let the output layer see these places of a batch alone, as one row."""

    def keep(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0].flatten(0, 1)[kept.to(inputs[0].device)][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def _padded(columns: Sequence[Sequence[list[int]]], width: int) -> torch.Tensor:
    return torch.tensor([[row + [0] * (width - len(row)) for row in rows] for rows in columns])


def _by_request(values: torch.Tensor, lengths: Sequence[int], fill: int) -> torch.Tensor:
    """Values that come one after another, a row for each request."""
    counts = torch.tensor(lengths, device=values.device)[:, None]
    there = torch.arange(max(lengths), device=values.device) < counts
    return torch.full(there.shape, fill, dtype=values.dtype, device=values.device).masked_scatter_(
        there, values
    )


def _fetched(*columns: torch.Tensor) -> list[list[float]]:
    """From the device at once; a double holds each of them exactly."""
    found: list[list[float]] = torch.stack([column.double() for column in columns]).tolist()
    return found
