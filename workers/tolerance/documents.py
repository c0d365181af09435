"""What is asked: made-up questions with four choices, the same ones at every call. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix")
_THINGS = ("apples", "books", "coins", "eggs", "pencils", "stones")
_PLACES = ("at home", "in the garden", "on the table", "at school", "in a box", "by the river")
_LETTERS = "ABCD"
_SHOTS = (0, 5)


@dataclass(frozen=True)
class AskedDocument:
    """A question and the continuations that are compared."""

    question: str
    choices: tuple[str, ...]
    examples: str = ""
    """Before the question, where there is room for them."""


def documents(count: int, seed: int = 15) -> list[AskedDocument]:
    """In turn letters and whole sentences, each without examples and after five, which are others every time."""
    rng = random.Random(seed)  # noqa: S311 - nothing is secret here
    return [_document(rng, letters=at % 2 == 0, shots=_SHOTS[at // 2 % 2]) for at in range(count)]


def _document(rng: random.Random, *, letters: bool, shots: int) -> AskedDocument:
    before = [_question(rng, letters=letters) for _ in range(shots)]
    text, choices, _ = _question(rng, letters=letters)
    shown = [f"{example}{among[right]}\n\n" for example, among, right in before]
    return AskedDocument(text, choices, "".join(shown))


def _question(rng: random.Random, *, letters: bool) -> tuple[str, tuple[str, ...], int]:
    """It, what may follow it, and which of that is right."""
    name, thing, place = rng.choice(_NAMES), rng.choice(_THINGS), rng.choice(_PLACES)
    have, more = rng.randint(1, 9), rng.randint(1, 9)
    counts = rng.sample([have + more, have + more + 1, have + more + 2, have + more + 3], 4)
    story = f"{_story(rng)} {name} has {have} {thing} and finds {more} more {place}."
    answers = [f"{name} has {count} {thing} {place} now." for count in counts]
    right = counts.index(have + more)
    if not letters:
        return f"Story: {story}\nAnswer:", tuple(f" {answer}" for answer in answers), right
    listed = _listed(answers)
    return f"Story: {story}\n{listed}Answer:", tuple(f" {letter}" for letter in _LETTERS), right


def _story(rng: random.Random) -> str:
    return " ".join(
        f"{rng.choice(_NAMES)} has {rng.randint(1, 9)} {rng.choice(_THINGS)} {rng.choice(_PLACES)}."
        for _ in range(rng.randint(2, 6))
    )


def _listed(answers: Sequence[str]) -> str:
    return "".join(f"{letter}. {answer}\n" for letter, answer in zip(_LETTERS, answers, strict=True))
