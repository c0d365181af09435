"""What goes wrong in the tasks beside it."""

from __future__ import annotations

import os
from typing import Any

import datasets

Doc = dict[str, Any]


def questions(**_: Any) -> dict[str, datasets.Dataset]:
    rows = [{"text": f"How many are {n} and 1?", "answer": f"{n + 1}"} for n in range(4)]
    return {"test": datasets.Dataset.from_list(rows)}


def number(doc: Doc) -> int:
    return int(doc["answer"])


def leave(doc: Doc, results: list[str]) -> dict[str, float]:
    os._exit(7)


def mean(items: list[float]) -> dict[str, float]:
    return {"mean": float("nan"), "n": 2**70}


def refuse(doc: Doc, results: list[str]) -> dict[str, float]:
    raise ValueError("a\0b\ud800")
