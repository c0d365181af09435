import argparse

import pytest
from lm_eval._cli.harness import HarnessCLI

from app.workloads.lm_eval.command.flags import FLAGS, Fate, read_flags


def _lm_eval_flags() -> dict[str, tuple[str | None, int | str]]:
    parser = HarnessCLI()._subparsers.choices["run"]
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    return {action.dest: (_short(action), 1 if action.nargs is None else action.nargs) for action in actions}


def _short(action: argparse.Action) -> str | None:
    return next((option for option in action.option_strings if not option.startswith("--")), None)


def test_the_table_is_lm_evals_own_set_of_flags() -> None:
    assert {flag.name: (flag.short, flag.arity) for flag in FLAGS} == _lm_eval_flags()
    assert len(FLAGS) == 32


def test_every_flag_that_is_no_field_says_why() -> None:
    assert [flag.name for flag in FLAGS if flag.fate is not Fate.FIELD and not flag.says] == []


def test_abbreviations_joined_short_flags_and_equals_are_read_as_argparse_does() -> None:
    words = read_flags(["-b8", "--task", "a", "b,c", "--limit=3", "-sx", "--num_f", "5"])
    assert words.faults == ()
    assert words.given["tasks"] == [["a", "b,c"]]
    assert words.given["batch_size"] == [["8"]]
    assert words.given["limit"] == [["3"]]
    assert words.given["num_fewshot"] == [["5"]]
    assert {"log_samples", "predict_only"} <= words.given.keys()


def test_an_ambiguous_abbreviation_names_the_candidates() -> None:
    (fault,) = read_flags(["--mod", "hf"]).faults
    assert fault.message == "ambiguous option: --mod could match --model, --model_args"


@pytest.mark.parametrize(
    "words", [["--num_fewshot"], ["--num_fewshot", "--limit", "5"], ["--tasks", "-b", "8"]]
)
def test_a_missing_value_is_a_fault(words: list[str]) -> None:
    assert [fault.message for fault in read_flags(words).faults if "needs" in fault.message]


def test_a_negative_number_is_a_value() -> None:
    assert read_flags(["--limit", "-1"]).given == {"limit": [["-1"]]}


def test_an_unknown_flag_is_refused_with_near_ones() -> None:
    (fault,) = read_flags(["--num-fewshots", "5"]).faults
    assert fault.message == "lm_eval run has no flag --num-fewshots"
    assert fault.allowed is not None
    assert fault.allowed[0] == "--num_fewshot"


def test_a_flag_of_an_older_version_is_left_out_with_a_note() -> None:
    words = read_flags(["--no_cache", "--limit", "5"])
    assert words.faults == ()
    assert words.notes == ("--no_cache is left out: older lm-eval had it; nothing is cached unseen here",)
