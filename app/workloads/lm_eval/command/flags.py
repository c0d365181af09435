"""The flags of `lm_eval run` 0.4.13 and what becomes of each; the table is held against lm-eval by a test."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from app.errors import FaultyField as Fault


class Fate(Enum):
    """What evalq does with a flag."""

    FIELD = "a field of the job"
    NOTE = "not needed; a note says what evalq does instead"
    REFUSED = "refused, with the reason"


@dataclass(frozen=True)
class Flag:
    """A flag; `arity` is argparse's nargs, with 0 for a switch and 1 for one value."""

    name: str
    short: str | None
    arity: int | str
    fate: Fate
    says: str = ""


_EXPORT = (
    "left out: results are not exported by the job; lm-eval's own files can be downloaded and sent afterwards"
)
_NO_CACHE = "not needed: answers are stored by content and reused (reuse_responses)"

FLAGS: tuple[Flag, ...] = (
    Flag("config", "-C", 1, Fate.FIELD),
    Flag("tasks", "-t", "+", Fate.FIELD),
    Flag("model", "-M", 1, Fate.FIELD),
    Flag("model_args", "-a", "+", Fate.FIELD),
    Flag("apply_chat_template", None, "?", Fate.FIELD),
    Flag("limit", "-L", 1, Fate.FIELD),
    Flag("use_cache", "-c", 1, Fate.NOTE, _NO_CACHE),
    Flag("num_fewshot", "-f", 1, Fate.FIELD),
    Flag("batch_size", "-b", 1, Fate.FIELD),
    Flag("max_batch_size", None, 1, Fate.FIELD),
    Flag("device", None, 1, Fate.NOTE, "not needed: evalq chooses the GPUs; `group` names where"),
    Flag("gen_kwargs", None, "+", Fate.FIELD),
    Flag(
        "output_path", "-o", 1, Fate.NOTE, "not needed: results are kept with the job and can be downloaded"
    ),
    Flag("log_samples", "-s", 0, Fate.NOTE, "not needed: samples are always kept with the job"),
    Flag("samples", "-E", 1, Fate.FIELD),
    Flag("cache_requests", None, "?", Fate.NOTE, _NO_CACHE),
    Flag("check_integrity", None, 0, Fate.REFUSED, "runs lm-eval's own test suite; that is no evaluation"),
    Flag("system_instruction", None, 1, Fate.FIELD),
    Flag("fewshot_as_multiturn", None, "?", Fate.FIELD),
    Flag(
        "include_path",
        None,
        1,
        Fate.NOTE,
        "not needed: the tasks of the operator's directories (EVALQ_TASK_PATHS) are known by name, others are not",
    ),
    Flag("verbosity", "-v", 1, Fate.NOTE, "not needed: every log is kept with the job"),
    Flag("write_out", "-w", 0, Fate.NOTE, "not needed: the samples show every prompt"),
    Flag("show_config", None, 0, Fate.NOTE, "not needed: the results hold every task's configuration"),
    Flag("wandb_args", None, "+", Fate.NOTE, _EXPORT),
    Flag("wandb_config_args", None, "+", Fate.NOTE, _EXPORT),
    Flag("trackio_args", None, "+", Fate.NOTE, _EXPORT),
    Flag("hf_hub_log_args", None, "+", Fate.NOTE, _EXPORT),
    Flag("predict_only", "-x", 0, Fate.FIELD),
    Flag("seed", None, 1, Fate.FIELD),
    Flag("trust_remote_code", None, 0, Fate.FIELD),
    Flag("confirm_run_unsafe_code", None, 0, Fate.FIELD),
    Flag("metadata", None, "+", Fate.FIELD),
)
BY_NAME = {flag.name: flag for flag in FLAGS}

RETIRED = {
    "no_cache": "older lm-eval had it; nothing is cached unseen here",
    "output_base_path": "older lm-eval had it; results are kept with the job",
    "decontamination_ngrams_path": "older lm-eval had it; 0.4.13 does nothing of the kind",
    "description_dict_path": "older lm-eval had it; use system_instruction",
    "provide_description": "older lm-eval had it; use system_instruction",
    "write_out_info": "older lm-eval had it; the samples show every prompt",
}
"""Flags of older versions that may be left out without changing what is measured."""

MOST_WORDS = 2000
"""After lm_eval; argparse takes time that grows with their number squared."""
_NEAR_FAULTS = 5
"""Unknown flags that get near ones."""

Given = dict[str, list[list[str]]]
"""The words after each flag, one list per time the flag was given."""


@dataclass(frozen=True)
class FlagWords:
    """What stood after `lm_eval run`, sorted by flag."""

    given: Given
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def read_flags(words: Sequence[str], path: str = "command") -> FlagWords:
    """Sort words by flag, with argparse's own rules for abbreviations, `--flag=value` and joined short flags."""
    if len(words) > MOST_WORDS:
        return FlagWords(
            {}, faults=(Fault(path, f"lm_eval is given {len(words)} words, {MOST_WORDS} at most"),)
        )
    try:
        namespace, rest = _parser().parse_known_args(list(words))
    except _AmbiguousError as error:
        return FlagWords({}, faults=(Fault(path, str(error)),))
    given = {name: [_words(each) for each in times] for name, times in vars(namespace).items() if times}
    notes, faults = _strangers(rest, path)
    faults += [
        Fault(path, _arity_message(name)) for name, times in given.items() if not _has_values(name, times)
    ]
    return FlagWords({n: t for n, t in given.items() if _has_values(n, t)}, tuple(notes), tuple(faults))


class _AmbiguousError(Exception):
    """argparse cannot tell which flag is meant."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _AmbiguousError(message)


def _parser() -> _Parser:
    """A parser that takes any number of values everywhere: too few become faults, not an exit."""
    parser = _Parser(add_help=False)
    for flag in FLAGS:
        names = [f"--{flag.name}", *([flag.short] if flag.short else [])]
        if flag.arity == 0:
            parser.add_argument(*names, dest=flag.name, action="append_const", const=None)
        else:
            nargs = "*" if flag.arity == "+" else "?"
            parser.add_argument(*names, dest=flag.name, action="append", nargs=nargs)
    return parser


def _words(values: list[str] | str | None) -> list[str]:
    return [] if values is None else [values] if isinstance(values, str) else values


def _has_values(name: str, times: list[list[str]]) -> bool:
    return BY_NAME[name].arity in (0, "?") or all(times)


def _arity_message(name: str) -> str:
    return f"--{name} needs {'a value' if BY_NAME[name].arity == 1 else 'at least one value'}"


def _strangers(words: Sequence[str], path: str) -> tuple[list[str], list[Fault]]:
    """What to say about words that belong to no flag."""
    notes: list[str] = []
    faults: list[Fault] = []
    flag_seen = False
    for word in words:
        name = word.lstrip("-").partition("=")[0].replace("-", "_")
        if not word.startswith("-"):
            faults += [] if flag_seen else [Fault(path, _stray_message(word))]
        elif name in RETIRED:
            notes.append(f"--{name} is left out: {RETIRED[name]}")
        else:
            faults.append(_unknown(word, name, path, near=len(faults) < _NEAR_FAULTS))
        flag_seen = word.startswith("-")
    return notes, faults


def _stray_message(word: str) -> str:
    if word in ("...", "…"):
        return "... stands for arguments that were left out; write them"
    return f"{word!r} belongs to no flag"


def _unknown(word: str, name: str, path: str, *, near: bool) -> Fault:
    alike = difflib.get_close_matches(name, BY_NAME, n=3) if near else []
    return Fault(
        path,
        f"lm_eval run has no flag {word.partition('=')[0]}",
        tuple(f"--{flag}" for flag in alike) or None,
    )
