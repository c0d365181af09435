"""Made-up documents for the end-to-end tasks: the same ones at every call."""

from __future__ import annotations

import random
from typing import Any

import datasets

NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Felix"]
PLACES = {"fish": "water", "birds": "the sky", "moles": "the ground", "bears": "the forest"}


def choices(**_: Any) -> dict[str, datasets.Dataset]:
    """Sums with four answers, and a few to learn from."""
    rng = random.Random(1)
    return {
        "train": datasets.Dataset.from_list(_sums(rng, 20)),
        "test": datasets.Dataset.from_list(_sums(rng, 300)),
    }


def questions(**_: Any) -> dict[str, datasets.Dataset]:
    """Where animals live."""
    rng = random.Random(2)
    animals = [rng.choice(list(PLACES)) for _ in range(60)]
    rows = [
        {"text": f"{rng.choice(NAMES)} asks: Where do {a} live?", "answer": f"in {PLACES[a]}"}
        for a in animals
    ]
    return {"test": datasets.Dataset.from_list(rows)}


def stories(**_: Any) -> dict[str, datasets.Dataset]:
    """Texts of very different lengths, some longer than the model's window."""
    rng = random.Random(3)
    rows = [
        {"text": " ".join(f"{rng.choice(NAMES)} has {rng.randint(1, 9)} coins." for _ in range(1 + 7 * i))}
        for i in range(20)
    ]
    return {"test": datasets.Dataset.from_list(rows)}


def nothing(**_: Any) -> dict[str, datasets.Dataset]:
    """A data set that cannot be had."""
    raise FileNotFoundError("the data of this task are gone")


def _sums(rng: random.Random, count: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(count):
        a, b, name = rng.randint(1, 9), rng.randint(1, 9), rng.choice(NAMES)
        options = rng.sample([a + b, a + b + 1, a + b + 3, a * b + 20], 4)
        question = f"{name} has {a} eggs and finds {b} more. How many?"
        rows.append(
            {"question": question, "options": [str(o) for o in options], "answer": options.index(a + b)}
        )
    return rows
