"""Tokens of a generation, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models import huggingface
from transformers import StoppingCriteria


class _Steps(StoppingCriteria):  # type: ignore[misc]
    """Is asked after every step whether to stop, and says no."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> bool:
        self._tell(len(input_ids))
        return False


@contextmanager
def each_step(tell: Callable[[int], None]) -> Iterator[None]:
    """Call `tell` at every step of HFLM's generations with the rows of its batch; what it raises ends them.

    It stands beside HFLM's own stop sequences, which are asked at every step anyway, and changes no token.
    """
    made = huggingface.stop_sequences_criteria

    def with_steps(*args: Any, **kwargs: Any) -> Any:
        criteria = made(*args, **kwargs)
        criteria.append(_Steps(tell))
        return criteria

    huggingface.stop_sequences_criteria = with_steps
    try:
        yield
    finally:
        huggingface.stop_sequences_criteria = made
