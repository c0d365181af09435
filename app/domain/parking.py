"""When a job gives up its coordinator's place while it waits for engines, and when it needs one again; pure."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.lease import Order

PATIENCE_SECONDS = 2.0
"""A job whose engine is warm is answered sooner."""

LONG = 5
"""So many times what a second start costs are to be left of an evaluation that goes on without its place."""


def pays(waited_seconds: float, left_seconds: float, preparing_seconds: float) -> bool:
    """Whether a job that others keep from a place should start a second time, which costs what it took to prepare.

    Nobody knows how long it will wait: one that gives up after waiting as long as that never pays more than twice what
    would have been best. An evaluation that goes on is left alone where it ends soon.
    """
    patience = max(PATIENCE_SECONDS, preparing_seconds)
    return waited_seconds >= patience or left_seconds >= LONG * patience


@dataclass(frozen=True)
class Gathered:
    """Chunks that were answered while no harness asked for them."""

    requests: int
    seconds: float
    """On engines."""
    cost: float
    """Tokens, as estimated when the chunks were cut."""
    stored_bytes: int = 0
    """Of their requests, which are stored no more."""


@dataclass(frozen=True)
class Stir:
    """What goes on around a parked job."""

    order: Order
    answering: bool
    """Engines have chunks of it in hand, or have answered some."""
    pending: bool
    """Some requests are still to be answered."""
    unjudged: bool
    """Some were not answered, and its harness is to say what becomes of the others."""
    engines: frozenset[str] = frozenset()
    """Live replicas of its engine, each with its status."""

    @property
    def moves(self) -> bool:
        """Whether there is something to tell or to do now."""
        return self.answering or self.needs_harness or self.order is not Order.GO_ON

    @property
    def needs_harness(self) -> bool:
        """Whether its harness has something to do."""
        return self.unjudged or not self.pending
