"""Every flag of lm_eval has a fate: a field, a note, or a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.workloads.lm_eval.command.command_line import ParsedCommand, parse_command


def _parse(text: str) -> ParsedCommand:
    return parse_command(text, {})


def _messages(parsed: ParsedCommand) -> list[str]:
    return [fault.message for fault in parsed.faults]


def test_every_field_flag_becomes_its_field() -> None:
    parsed = _parse(
        "lm_eval run --model hf --model_args pretrained=gpt2 dtype=float32 --tasks arc_easy hellaswag,piqa "
        "--num_fewshot 5 --batch_size auto:4 --max_batch_size 32 --limit 0.1 "
        "--gen_kwargs temperature=0,do_sample=False --apply_chat_template "
        "--fewshot_as_multiturn false --system_instruction 'Be brief.' --predict_only "
        "--seed 1,2,3 --trust_remote_code --confirm_run_unsafe_code --metadata tokenizer=gpt2 "
        """--samples '{"arc_easy": [0, 1]}'"""
    )
    assert parsed.faults == []
    assert parsed.fields == {
        "model": "hf",
        "model_args": {"pretrained": "gpt2", "dtype": "float32", "trust_remote_code": True},
        "tasks": ["arc_easy", "hellaswag", "piqa"],
        "num_fewshot": 5,
        "batch_size": "auto:4",
        "max_batch_size": 32,
        "limit": 0.1,
        "gen_kwargs": {"temperature": 0, "do_sample": False},
        "apply_chat_template": True,
        "fewshot_as_multiturn": False,
        "system_instruction": "Be brief.",
        "predict_only": True,
        "seed": [1, 2, 3, 1234],
        "confirm_run_unsafe_code": True,
        "metadata": {"tokenizer": "gpt2"},
        "samples": {"arc_easy": [0, 1]},
    }


def test_flags_that_are_not_needed_leave_a_note_and_no_field() -> None:
    parsed = _parse(
        "lm_eval --model hf -b 1 --output_path out -s -c cache --cache_requests refresh --device cuda:0 -w "
        "--show_config --verbosity DEBUG --include_path ./tasks --wandb_args project=x "
        "--hf_hub_log_args push_to_hub=True"
    )
    assert parsed.faults == []
    assert parsed.fields == {"model": "hf", "batch_size": 1}
    assert len(parsed.notes) == 11


def test_check_integrity_is_refused() -> None:
    assert "test suite" in _messages(_parse("lm_eval --check_integrity"))[0]


def test_defaults_that_differ_from_lm_evals_are_said() -> None:
    parsed = _parse("lm_eval --tasks arc_easy")
    assert (parsed.fields["model"], parsed.fields["batch_size"]) == ("hf", "auto")
    assert "--batch_size is not given: evalq uses auto (lm-eval would use 1)" in parsed.notes


@pytest.mark.parametrize(
    "program",
    [
        "lm_eval",
        "lm-eval run",
        "python -m lm_eval",
        "python3.11 -u -m lm_eval run",
        "uv run lm_eval",
        "$ lm_eval",
        "!lm_eval",
    ],
)
def test_lm_eval_is_known_by_all_its_names(program: str) -> None:
    parsed = _parse(f"{program} --model vllm --tasks arc_easy")
    assert parsed.faults == []
    assert parsed.fields["model"] == "vllm"


def test_a_trailing_comma_adds_no_task() -> None:
    assert _parse("lm_eval --tasks arc_easy,piqa,").fields["tasks"] == ["arc_easy", "piqa"]


def test_a_limit_of_one_point_zero_is_one_document() -> None:
    assert repr(_parse("lm_eval --limit 1.0").fields["limit"]) == "1"
    assert repr(_parse("lm_eval --limit 0.5").fields["limit"]) == "0.5"
    assert repr(_parse("lm_eval --limit 2.7").fields["limit"]) == "2"


def test_a_long_dash_of_a_word_processor_is_two_dashes() -> None:
    assert _parse("lm_eval \u2014tasks a \u2013limit 5").fields["limit"] == 5


def test_all_faults_come_at_once() -> None:
    parsed = _parse(
        "lm_eval --num_fewshot x --limit y --batch_size z --seed q --samples w --frob --model_args oops $V"
    )
    assert {fault.path for fault in parsed.faults} == {
        "command", "num_fewshot", "limit", "batch_size", "seed", "samples", "model_args",
    }  # fmt: skip


def test_listing_tasks_is_answered_with_where_they_are_listed() -> None:
    for text in ("lm_eval --tasks list", "lm_eval ls tasks"):
        assert "GET /v1/tasks" in _messages(_parse(text))[0]


def test_a_configuration_file_is_asked_for_and_then_lies_under_the_flags() -> None:
    text = "lm_eval run --config eval.yaml --tasks piqa"
    asked = _parse(text)
    assert asked.file_names == ("eval.yaml",)
    assert "`evalq submit` reads it" in _messages(asked)[0]
    config = {
        "model": "vllm",
        "model_args": "pretrained=x,dtype=auto",
        "tasks": "a,b",
        "seed": 7,
        "output_path": "o",
        "frob": 1,
        "num_fewshot": None,
    }
    parsed = parse_command(text, {}, {"eval.yaml": config})
    assert _messages(parsed) == ["lm_eval run has no setting frob"]
    assert parsed.fields["tasks"] == ["piqa"]
    assert parsed.fields["model"] == "vllm"
    assert parsed.fields["model_args"] == {"pretrained": "x", "dtype": "auto"}
    assert parsed.fields["seed"] == [7, 7, 7, 7]


def test_a_configuration_that_no_flag_names_is_used_all_the_same() -> None:
    config = {
        "model": "hf",
        "tasks": ["a", "b,c"],
        "trust_remote_code": True,
        "model_args": {"pretrained": "x"},
    }
    parsed = parse_command("lm_eval run --limit 5", {}, {"mine.yaml": config})
    assert parsed.faults == []
    assert parsed.fields == {
        "model": "hf",
        "tasks": ["a", "b", "c"],
        "limit": 5,
        "batch_size": "auto",
        "model_args": {"pretrained": "x", "trust_remote_code": True},
    }


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"tasks": 5, "num_fewshot": True}, "must be no true or false"),
        ({"num_fewshot": [1, 2]}, "must be one value"),
        ({"num_fewshot": "five"}, "is not a whole number"),
        ({"model_args": ["a"]}, "must be names with values"),
        ({"model_args": {1: 2}}, "must be names with values"),
        ({"gen_kwargs": "oops"}, "expected key=value"),
        ({"tasks": [["a"]]}, "must be one value, or a list"),
        ({"tasks": ["a"] * 3000}, "must be one value, or a list"),
        ({"limit": {"a": 1}}, "must be one value"),
        ({"predict_only": "yes"}, "must be true or false"),
        ({"check_integrity": True}, "test suite"),
        ({"seed": [1, 2]}, "expected 1, 3 or 4 seeds"),
    ],
)
def test_a_setting_of_a_wrong_kind_is_a_fault_of_its_name(setting: dict[str, object], says: str) -> None:
    parsed = parse_command("lm_eval run", {}, {"f": setting})
    (fault,) = parsed.faults
    assert fault.path.startswith("config.")
    assert says in fault.message


def test_a_credential_in_a_configuration_is_refused_and_never_repeated() -> None:
    config = {"model": "hf", "model_args": {"pretrained": "x", "token": "hf_verysecret"}}
    parsed = parse_command("lm_eval run", {}, {"f": config})
    assert parsed.faults
    assert "hf_verysecret" not in repr(parsed)


def test_flags_alone_are_taken_as_a_fragment() -> None:
    assert _parse("--batch_size 4  # was 16").fields == {"batch_size": 4}


_PIECES = (
    "lm_eval",
    "--tasks",
    "--model_args",
    "a=1",
    ",",
    "$",
    "${",
    "$(",
    "`",
    "'",
    '"',
    "\\",
    "<",
    ">",
    "<a>",
    "é",
)
_MORE_PIECES = (
    "&",
    "|",
    ";",
    "#",
    "\n",
    "2>",
    "{}",
    "[",
    "]",
    "--",
    "-",
    "=",
    "<<EOF",
    "srun",
    "torchrun",
    "A=b",
)


@given(st.lists(st.sampled_from(_PIECES + _MORE_PIECES)))
def test_no_text_makes_the_parser_fail(pieces: list[str]) -> None:
    for joint in ("", " "):
        _parse("lm_eval " + joint.join(pieces))
