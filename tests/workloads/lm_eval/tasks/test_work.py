"""How much work a text can cause: counted, whatever the machine; each of these once took seconds or minutes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Any

import pytest

from app.arguments import syntax as arguments
from app.arguments.syntax import MOST_LITERAL, parse_cli_pairs, parse_gen_kwargs, parse_model_args
from app.workloads.lm_eval.command import shell_values, shell_words
from app.workloads.lm_eval.command.command_line import ParsedCommand, parse_command
from app.workloads.lm_eval.command.flags import MOST_WORDS
from app.workloads.lm_eval.tasks.task_index import TaskIndex

LONG = 16_384
COMMAND = "lm_eval --model hf --tasks x "


class Counted:
    """A regular expression that adds up the characters it is let loose on."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.characters = 0

    def match(self, text: str, at: int = 0) -> re.Match[str] | None:
        found = self._pattern.match(text, at)
        self.characters += found.end() - at if found else len(text) - at
        return found


def parsed(text: str) -> ParsedCommand:
    return parse_command(text[:LONG], {})


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("unit", ["\\{q}", "\\\\\\{q}", "\\{q},b=[{q}\\"])
def test_a_quote_that_nothing_closes_is_looked_for_once(
    monkeypatch: pytest.MonkeyPatch, quote: str, unit: str
) -> None:
    counted = {each: Counted(pattern) for each, pattern in arguments._QUOTED.items()}
    monkeypatch.setattr(arguments, "_QUOTED", counted)
    text = f"a=[{quote}" + unit.replace("{q}", quote) * (LONG // 8)
    for parse in (parse_model_args, parse_gen_kwargs):
        parse(text)
    assert sum(each.characters for each in counted.values()) <= 2 * 2 * len(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_REDIRECTION", "1" * LONG),
        ("_REDIRECTION", "a" + "1" * LONG),
        ("_VARIABLE", "${a-" * (LONG // 4)),
        ("_SPECIAL_PARAMETER", "${a-" * (LONG // 4)),
        ("_VARIABLE", '"' + "${a-" * (LONG // 4) + '"'),
    ],
)
def test_what_nothing_closes_is_looked_for_once(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    module = shell_words if name == "_REDIRECTION" else shell_values
    counted = Counted(getattr(module, name))
    monkeypatch.setattr(module, name, counted)
    parsed(COMMAND + text)
    assert counted.characters <= 2 * LONG + 100 * len(COMMAND) * len(COMMAND)


def test_faults_of_a_command_are_not_compared_with_each_other() -> None:
    command = parsed(COMMAND + " ".join(f"$a{number}" for number in range(1900)))
    assert len(command.faults) == len({fault.message for fault in command.faults}) == 1900


def test_only_the_first_unknown_flags_get_near_ones() -> None:
    command = parsed(COMMAND + " ".join(f"--tasl{number}" for number in range(1000)))
    near = [fault.allowed for fault in command.faults if fault.allowed]
    assert len(command.faults) == 1000
    assert 0 < len(near) <= 5


@pytest.mark.parametrize("words", ["-a ", "x ", "\u2014a ", "--m "])
def test_a_command_of_too_many_words_is_not_sorted_by_flags(words: str) -> None:
    (fault, *_) = parsed(COMMAND + words * (MOST_WORDS + 1)).faults
    assert "2000 at most" in fault.message


def test_what_is_said_of_the_same_name_again_and_again_is_said_once() -> None:
    assert len(parse_model_args("a=1," * 4000).notes) == 1
    assert len(parse_cli_pairs(["a=1"] * 4000, "model_args").notes) == 1


ODD = [
    "[" * 3000,
    "{" * 3000,
    "-" * 16_000 + "1",
    "~" * 16_000 + "1",
    "[" + "9" * 5000 + "]",
    "0x" + "f" * 9000,
]
ODD += [
    "'\ud800'",
    "'\x00'",
    "[\ud800]",
    "1e999j",
    "...",
    "{1,2}",
    "b'\\x00'",
    "1or 2",
    "'\\d'",
    '{"a":' * 2000,
]


@pytest.mark.parametrize("value", ODD)
def test_whatever_stands_in_an_argument_is_a_value_or_a_fault(value: str) -> None:
    """Each reader of the same text again: none raises what its parser raises."""
    for text in (value, f'{{"a": {value}}}', f"a={value}"):
        for parse in (parse_model_args, parse_gen_kwargs):
            assert parse(text).values or parse(text).faults or not text
        assert parse_cli_pairs([text], "model_args") is not None


@pytest.mark.parametrize(
    "flag", ["samples", "limit", "seed", "batch_size", "num_fewshot", "model_args", "config"]
)
@pytest.mark.parametrize("value", ODD)
def test_whatever_stands_behind_a_flag_is_a_value_or_a_fault(flag: str, value: str) -> None:
    command = parsed(f"{COMMAND} --{flag} '" + value.replace("'", "") + "'")
    assert command.fields or command.faults
    assert not [fault for fault in command.faults if "recursion" in fault.message or "sys." in fault.message]


def test_a_long_value_is_no_literal() -> None:
    assert parse_model_args(f"a=[{'1,' * MOST_LITERAL}]").values["a"].startswith("[1,")


def test_a_pattern_is_matched_once_however_often_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []

    def counted(names: Iterable[str], pattern: str) -> list[str]:
        passes.append(pattern)
        return real(names, pattern)

    real: Any = fnmatch.filter
    monkeypatch.setattr(fnmatch, "filter", counted)
    patterns = [f"*e*a*zz{number}" for number in range(50)]
    index = TaskIndex.load()
    faults = index.faults(patterns)
    assert (index.resolve(patterns), index.expand(patterns), index.closure(patterns)) == ([], [], [])
    assert passes == patterns
    assert sum(fault.allowed is not None for fault in faults) <= 3
