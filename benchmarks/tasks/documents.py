"""Three thousand made-up questions with four answers each: 12,000 log-likelihood requests."""

from __future__ import annotations

import random
from typing import Any

import datasets

NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Felix"]
THINGS = ["apples", "books", "coins", "eggs", "pencils", "stones"]


def sums(**_: Any) -> dict[str, datasets.Dataset]:
    """Stories of several lengths, so that batches differ."""
    rng = random.Random(7)  # noqa: S311 - made-up questions, no secrets
    return {
        "train": datasets.Dataset.from_list(rows(rng, 20)),
        "test": datasets.Dataset.from_list(rows(rng, 3000)),
    }


def rows(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Each asks for a sum and offers it among wrong ones, written out so that answers are several tokens."""
    made = []
    for number in range(count):
        name, thing = rng.choice(NAMES), rng.choice(THINGS)
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        story = " ".join(f"{rng.choice(NAMES)} likes {rng.choice(THINGS)}." for _ in range(number % 12))
        answers = rng.sample([a + b, a + b + 1, a + b + 2, a + b + 3], 4)
        made.append(
            {
                "question": f"{story} {name} has {a} {thing} and finds {b} more.".strip(),
                "options": [f"Now {name} has {answer} {thing}." for answer in answers],
                "answer": answers.index(a + b),
            }
        )
    return made
