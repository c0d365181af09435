"""How long the prompts of a job are, and so how many of them a shorter length would cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PromptLengths:
    """For each maximum length that a request needs not to be cut, how many need it; of those still to be answered."""

    counts: tuple[tuple[int, int], ...]

    @classmethod
    def told(cls, counts: Iterable[tuple[int, int]]) -> PromptLengths | None:
        """As a harness says it; None where it tells of no request."""
        known = tuple((length, count) for length, count in counts if length > 0 and count > 0)
        return cls(known) if known else None

    @property
    def total(self) -> int:
        """All requests that it tells of."""
        return sum(count for _, count in self.counts)

    def cut_by(self, length: int) -> int:
        """Requests that are longer."""
        return sum(count for needed, count in self.counts if needed > length)


def says_cut(lengths: PromptLengths | None, length: int) -> str:
    """What a length does to the prompts of a job, as far as they are known."""
    if lengths is None:
        unknown = "how many of the job's those are is not known before its prompts are built"
        return f"requests of more than {length:,} tokens are cut: {unknown}"
    count = lengths.cut_by(length)
    return f"requests of more than {length:,} tokens are cut: {count:,} of the job's {lengths.total:,}"
