"""Made-up documents with prompts of 200 to 800 tokens (of the tests' tokenizer), the same ones at every call."""

from __future__ import annotations

import random
from typing import Any

import datasets

NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Felix"]
THINGS = ["apples", "books", "coins", "eggs", "pencils", "stones"]
COUNT = 1000
LEAST, MOST = 40, 156
"""Sentences of a prompt; a sentence is about five tokens."""


def choices(**_: Any) -> dict[str, datasets.Dataset]:
    """A sum with four answers after a long story."""
    rng = random.Random(11)
    return {"test": datasets.Dataset.from_list([_choice(rng) for _ in range(COUNT)])}


def letters(**_: Any) -> dict[str, datasets.Dataset]:
    """The same with its answers listed, to be told by a letter."""
    rng = random.Random(13)
    return {"test": datasets.Dataset.from_list([_lettered(_choice(rng)) for _ in range(COUNT)])}


def texts(**_: Any) -> dict[str, datasets.Dataset]:
    """Stories to go on with, or to be read from begin to end: some are longer than the model's window."""
    rng = random.Random(12)
    rows = [
        {"text": _story(rng, rng.randint(LEAST, MOST)), "answer": rng.choice(THINGS)} for _ in range(COUNT)
    ]
    long = {"text": _story(rng, 4 * MOST), "answer": "eggs"}
    return {"test": datasets.Dataset.from_list([long, *rows])}


def _choice(rng: random.Random) -> dict[str, Any]:
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    answers = rng.sample([a + b, a + b + 1, a + b + 2, a + b + 3], 4)
    return {
        "question": f"{_story(rng, rng.randint(LEAST, MOST))} {name} has {a} {thing} and finds {b} more.",
        "options": [f"Now {name} has {answer} {thing}." for answer in answers],
        "answer": answers.index(a + b),
    }


def _lettered(row: dict[str, Any]) -> dict[str, Any]:
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip("ABCD", row["options"], strict=True))
    return {"question": f"{row['question']}{listed}\nAnswer:", "answer": row["answer"]}


def _story(rng: random.Random, sentences: int) -> str:
    return " ".join(
        f"{rng.choice(NAMES)} has {rng.randint(1, 9)} {rng.choice(THINGS)}." for _ in range(sentences)
    )
