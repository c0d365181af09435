"""How many requests an engine runs at once, by the shape of the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ENOUGH_GAIN = 1.1
"""A doubled batch that is less than this much faster is not worth its memory."""


@dataclass(frozen=True)
class Shape:
    """Work that takes the same memory and time per request: a kind, and a length in tokens."""

    generating: bool
    length: int

    @classmethod
    def of(cls, length: int, max_length: int, *, generating: bool) -> Shape:
        """The bucket of a length: the power of two that holds it, at most what the model takes."""
        return cls(generating, min(1 << max(length - 1, 0).bit_length(), max_length))


class BatchSizes:
    """A batch size for every shape: the one asked for, or one probed once and kept for the engine's life.

    Kept, because lm-eval's `auto` probes at every call, and because an engine whose batches change from chunk to
    chunk changes its last bits with them. `auto:N` is the same: the buckets do what its N probes are for.
    """

    def __init__(self, probe: Callable[[Shape], int]) -> None:
        self._probe = probe
        self._probed: dict[Shape, int] = {}
        self._ceilings: dict[Shape, int] = {}

    def choose(self, asked: int | str, shape: Shape, least: int = 1) -> int:
        """The batch size for this work; `auto max N` is the probed one and at most N.

        Nothing below `least` is asked for, which memory alone may bring about.
        """
        automatic, _, most = str(asked).partition(" max ")
        size = self._automatic(shape) if automatic.startswith("auto") else int(automatic)
        size = max(least, min(size, int(most or size)))
        return min(size, self._ceilings.get(shape, size))

    def halve(self, shape: Shape, size: int) -> int:
        """After `size` was too much: half of it, also for later work of this shape."""
        self._ceilings[shape] = size // 2
        return size // 2

    def _automatic(self, shape: Shape) -> int:
        if shape not in self._probed:
            self._probed[shape] = self._probe(shape)
        return self._probed[shape]


def double_until_no_faster(seconds: Callable[[int], float], most: int) -> int:
    """The batch size from which doubling no longer pays; `seconds` measures one batch.

    For CPUs: they have nothing like a GPU's clean end of memory to search for, and gain little from large batches.
    """
    size, best = 1, 1 / seconds(1)
    while size * 2 <= most:
        rate = size * 2 / seconds(size * 2)
        if rate < best * ENOUGH_GAIN:
            break
        size, best = size * 2, rate
    return size
