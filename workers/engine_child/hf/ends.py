"""Why HFLM's texts end, which it does not tell itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval.models import huggingface

from workers.engine_child.contract import GeneratedText
from workers.protocol.payload import EndedBy


class _Batch:
    """What HFLM generated at once; its rows are asked for in order."""

    def __init__(self, lm: Any, tokens: Any, prompt: int, criteria: Sequence[Any], longest: int) -> None:
        """`longest`: tokens of prompt and text at most."""
        first = prompt if lm.backend == "causal" else 1  # a decoder's first token may be the end of sequence
        self._rows = [row[first:] for row in tokens.tolist()]
        self._eos = _eos_tokens(lm.model.generation_config)
        self._criteria = criteria
        self._is_full = tokens.shape[1] >= longest
        self._next = 0

    def end(self, *, stopped: bool) -> EndedBy | None:
        """Why the next row ends, of whose text a stop sequence was cut off or not."""
        row = self._next
        self._next += 1
        if stopped:
            return EndedBy.STOP
        if not self._eos.isdisjoint(self._rows[row]):
            return EndedBy.EOS
        if any(row < len(each.done_tracker) and each.done_tracker[row] for each in self._criteria):
            return EndedBy.STOP  # of special tokens, which no text shows
        return EndedBy.LENGTH if self._is_full else None


@contextmanager
def known_ends(lm: Any) -> Iterator[None]:
    """Let each text that HFLM makes know why it ends.

    It stands where HFLM makes its stop criteria, generates, and cuts a text at its stop sequences, and changes no text.
    """
    criteria, cut = huggingface.stop_sequences_criteria, huggingface.postprocess_generated_text
    watch = _Watch(lm, criteria, cut)
    huggingface.stop_sequences_criteria = watch.criteria
    huggingface.postprocess_generated_text = watch.cut
    lm._model_generate = watch.generate
    try:
        yield
    finally:
        del lm._model_generate
        huggingface.stop_sequences_criteria, huggingface.postprocess_generated_text = criteria, cut


class _Watch:
    """What HFLM calls instead of its own."""

    def __init__(self, lm: Any, criteria: Callable[..., Any], cut: Callable[..., str]) -> None:
        self._lm = lm
        self._criteria = criteria
        self._cut = cut
        self._generate = lm._model_generate
        self._made: Sequence[Any] = ()
        self._batch: _Batch

    def criteria(self, *args: Any, **kwargs: Any) -> Any:
        """HFLM's own, remembered."""
        made = self._criteria(*args, **kwargs)
        self._made = [each for each in made if hasattr(each, "done_tracker")]
        return made

    def generate(self, context: Any, max_length: int, **kwargs: Any) -> Any:
        """HFLM's own; whose rows are then asked for."""
        tokens = self._generate(context=context, max_length=max_length, **kwargs)
        self._batch = _Batch(self._lm, tokens, context.shape[1], self._made, max_length)
        return tokens

    def cut(self, generation: str, stop: Any, think_end_token: str | None) -> str:
        """HFLM's own, of the text of the next row."""
        whole = self._cut(generation, None, think_end_token)
        kept = self._cut(generation, stop, think_end_token)
        return GeneratedText(kept, self._batch.end(stopped=kept != whole))


def _eos_tokens(config: Any) -> frozenset[int]:
    found = config.eos_token_id
    return frozenset(found if isinstance(found, list | tuple) else [] if found is None else [found])
