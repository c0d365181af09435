"""How far two runs of the same job are apart, request by request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.client import Client

NEAR = 0.01
Samples = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Difference:
    """`largest` is of log-likelihoods, in nats, and `relative` to the larger one.

    `flipped` documents have another score or another text.
    """

    documents: int
    requests: int
    different_requests: int
    largest: float
    relative: float
    flipped: int
    same_metrics: bool

    @property
    def none(self) -> bool:
        """Equal to the last bit."""
        return self.same_metrics and not (self.different_requests or self.flipped)

    @property
    def near(self) -> bool:
        """Of one and the same model, in 16 bits: a sum of log-likelihoods keeps two digits, whatever else was computed
        beside it. A greedy text may be another from a near tie on."""
        return self.relative <= NEAR

    def figures(self) -> dict[str, Any]:
        """As they are written down."""
        return asdict(self)


def outcome(client: Client, job_id: str) -> tuple[dict[str, Any], Samples]:
    """A job's scores and sample rows, from the files it wrote."""
    document = json.loads(client.artifact(job_id, "results_"))
    samples = {
        task: [json.loads(line) for line in client.artifact(job_id, f"samples_{task}_").splitlines()]
        for task in document["configs"]
    }
    return document, samples


def difference(
    ours: tuple[Mapping[str, Any], Samples], theirs: tuple[Mapping[str, Any], Samples]
) -> Difference:
    """Compare two outcomes of one job; an AssertionError where they are not about the same documents."""
    documents, requests, different, largest, relative, flipped = 0, 0, 0, 0.0, 0.0, 0
    assert ours[1].keys() == theirs[1].keys()
    for task, rows in theirs[1].items():
        assert [row["doc_hash"] for row in ours[1][task]] == [row["doc_hash"] for row in rows], task
        for mine, other in zip(ours[1][task], rows, strict=True):
            documents += 1
            flipped += _score(mine) != _score(other)
            for one, two in zip(mine["resps"], other["resps"], strict=True):
                requests += 1
                different += one != two
                for gap, size in _gaps(one, two):
                    largest, relative = max(largest, gap), max(relative, gap / max(size, 1.0))
    same = all(ours[0][part] == theirs[0][part] for part in ("results", "versions", "n-shot", "n-samples"))
    return Difference(documents, requests, different, largest, relative, flipped, same)


def _score(row: Mapping[str, Any]) -> list[Any]:
    """What decides a document's score: whether it is right, or what was generated."""
    texts = [leaf for leaf in _leaves(row["filtered_resps"]) if _number(leaf) is None]
    return [row.get("acc"), *(text for text in texts if text not in {"True", "False"})]


def _gaps(one: Any, two: Any) -> Iterator[tuple[float, float]]:
    """How far the log-likelihoods of one response are apart, and how large they are."""
    for a, b in zip(_leaves(one), _leaves(two), strict=False):
        x, y = _number(a), _number(b)
        if x is not None and y is not None:
            yield abs(x - y), max(abs(x), abs(y))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _number(leaf: Any) -> float | None:
    try:
        return float(leaf)
    except (TypeError, ValueError):
        return None
