"""Texts and numbers that nobody expects, drawn from a seed: what odd requests are made of."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from app.backends.known_arguments import GEN_KWARGS, MODEL_ARGS
from app.posting.job_body import JobIn


@dataclass(frozen=True)
class Raw:
    """JSON that no value of Python writes."""

    text: str


SIGNS = [*"[](){}\"'\\,=: \n\t-$`<>*?%/~#&|;@019ex_.+", "--", "${", "[!", "%00", "..", "://"]
SIGNS += ["\x00", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e", "\ud800", "\udfff", "\U0001f600", "e\u0301"]
WORDS = ["true", "False", "null", "None", "nan", "Infinity", "-inf", "1e999", "-0", "0x1F", "1_000", "1+2j"]
WORDS += [
    "auto",
    "auto:4",
    "gpt2",
    "arc_easy",
    "mmlu_*",
    "hf",
    "token",
    "hf_" + "a" * 40,
    "<name>",
    "${HOME:-x}",
]
WORDS += [
    "/etc/passwd",
    "~nobody",
    "file:///etc",
    "../..",
    "a/b/c",
    "__import__('os')",
    "lambda: 0",
    "b'a'",
    "...",
]
WORDS += ["{1,2}", "[[]]", '{"a": {}}', "\u0663"]
NUMBERS: list[Any] = [
    0,
    -1,
    1,
    0.5,
    -0.0,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    1e308,
    5e-324,
    True,
]
DIGITS = ["9" * 30, "9" * 5000, "-" + "9" * 4301, "1e999", "0." + "3" * 5000, "NaN", "-Infinity", "01", "1."]
NUMBERS += map(Raw, DIGITS)


def text(rng: Random) -> str:
    """A text: empty, a word, signs in any order, one thing very often, or an odd sign between words."""
    match rng.randrange(6):
        case 0:
            return rng.choice(["", " ", rng.choice(SIGNS)])
        case 1:
            return rng.choice(WORDS)
        case 2:
            return "".join(rng.choice(SIGNS + WORDS) for _ in range(rng.randrange(1, 30)))
        case 3:
            return rng.choice(SIGNS + WORDS) * rng.choice([2, 50, 300, 2000, 20_000])
        case 4:
            return f"{rng.choice(WORDS)}{rng.choice(SIGNS)}{rng.choice(WORDS)}"
        case _:
            return chr(rng.choice([rng.randrange(0x110000), rng.randrange(256)])) * rng.randrange(1, 5)


def value(rng: Random, depth: int = 0) -> Any:
    """A value of JSON of any kind, up to what no reader takes."""
    match rng.randrange(9 if depth < 3 else 5):
        case 0 | 1:
            return text(rng)
        case 2:
            return rng.choice(NUMBERS)
        case 3:
            return rng.choice([None, [], {}, True, 1])
        case 4:
            deep = rng.choice([5, 31, 32, 33, 100, 990, 5000])
            opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
            return Raw(opening * deep + rng.choice(["1", '"\\ud800"', "null"]) + closing * deep)
        case 5 | 6:
            return [value(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 5, 40]))]
        case _:
            return {name(rng): value(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 5, 40]))}


def name(rng: Random) -> str:
    """A field's or an argument's name."""
    known = rng.choice(
        [*MODEL_ARGS, *GEN_KWARGS, *JobIn.model_fields, "arc_easy", "pretrained", "token", "_private"]
    )
    return known if rng.random() < 0.6 else text(rng)
