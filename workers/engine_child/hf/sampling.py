"""Samples that depend on the job's seed and on their own request, and on nothing else.

transformers draws the rows of a batch from one generator, so that each depends on all that was drawn before it: on
the batch, on the chunk, on the engine's past. Here every row has noise of its own, which is a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

_GOLDEN = 0x9E3779B97F4A7C15
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
NOISE_AT_ONCE = 1 << 23
"""Numbers computed at once: 64 MiB for each of the few copies that computing them takes."""

_LARGEST = 1 - 2.0**-24
_SMALLEST = 2.0**-64


@contextmanager
def drawn_apart(seed: int, draws: Sequence[bytes]) -> Iterator[None]:
    """Let the rows of a batch be drawn by what `draws` says of each.

    Whatever else is random (assisted decoding, which takes batches of one) follows the first row.
    """
    multinomial = torch.multinomial
    torch.manual_seed(_start(seed, draws[0], 0, 0))
    torch.multinomial = _RowDraws(seed, draws)
    try:
        yield
    finally:
        torch.multinomial = multinomial


class _RowDraws:
    """Stands in for torch.multinomial, which is all that transformers draws tokens with, beams as well.

    The largest of p / q, where q is exponentially distributed, is a draw from p; the k largest are k draws without
    replacement (Efraimidis and Spirakis, 2006). torch.multinomial does the same, with one generator for all rows.
    """

    def __init__(self, seed: int, draws: Sequence[bytes]) -> None:
        self._seed = seed
        self._draws = draws
        self._step = 0

    def __call__(self, probabilities: torch.Tensor, num_samples: int) -> torch.Tensor:
        if probabilities.isnan().any():
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        rows, width = probabilities.shape
        copies = rows // len(self._draws)
        starts = [
            _start(self._seed, self._draws[row // copies], self._step, row % copies) for row in range(rows)
        ]
        self._step += 1
        some = max(1, NOISE_AT_ONCE // width)
        parts = [
            (part / exponential(starts[i * some : (i + 1) * some], width, part.device)).topk(num_samples)
            for i, part in enumerate(probabilities.split(some))
        ]
        return torch.cat([part.indices for part in parts])


def exponential(starts: Sequence[int], width: int, device: torch.device) -> torch.Tensor:
    """Exponentially distributed numbers, a row for each start: the same on every device.

    Splitmix64 (Steele, Lea and Flood, 2014), computed for all counters at once.
    """
    counters = torch.arange(1, width + 1, device=device)
    bits = torch.tensor(starts, device=device)[:, None] + counters * _signed(_GOLDEN)
    for shift, factor in _MIXERS:
        bits = (bits ^ _shifted(bits, shift)) * _signed(factor)
    uniform = _shifted(bits, 1).float() * 2.0**-63
    return -torch.log1p(-uniform.clamp(_SMALLEST, _LARGEST))


def _start(seed: int, draw: bytes, step: int, copy: int) -> int:
    """Where the noise of a row begins at a step of its generation."""
    digest = hashlib.sha256(b"%d %d %d " % (seed, step, copy) + draw).digest()
    return int.from_bytes(digest[:8], signed=True)


def _shifted(bits: torch.Tensor, by: int) -> torch.Tensor:
    """Shifted to the right, zeros coming in: torch's own shift repeats the sign."""
    return (bits >> by) & ((1 << 64 - by) - 1)


def _signed(number: int) -> int:
    """The number that has these 64 bits in torch's int64."""
    return number - (1 << 64) if number >> 63 else number
