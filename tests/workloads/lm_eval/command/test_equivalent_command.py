import argparse
import shlex
from typing import Any

import pytest
from lm_eval._cli.harness import HarnessCLI

from app.workloads.lm_eval.command import equivalent_command
from app.workloads.lm_eval.command.command_line import parse_command
from app.workloads.lm_eval.spec import LmEvalSpec

_SPEC: dict[str, Any] = {
    "model": "hf",
    "model_args": {"pretrained": "gpt2", "dtype": "float32", "max_length": 512, "revision": None},
    "tasks": ["arc_easy", "gsm8k"],
    "num_fewshot": 5,
    "batch_size": "auto:4",
    "max_batch_size": 64,
    "limit": 0.1,
    "gen_kwargs": {"temperature": 0, "until": ["\n\n", "Bob's, yes"], "top_k": -1},
    "apply_chat_template": True,
    "fewshot_as_multiturn": False,
    "system_instruction": 'Don\'t say $HOME; be "brief".',
    "predict_only": True,
    "seed": [1, None, 3, 4],
    "confirm_run_unsafe_code": True,
    "metadata": {"tokenizer": "gpt2", "lengths": [4096, 8192]},
    "samples": {"arc_easy": [0, 1]},
    "env": {"NCCL_DEBUG": "INFO"},
}


def to_command(spec: dict[str, Any]) -> str:
    return equivalent_command.to_command(LmEvalSpec.from_json({"log_samples": False} | spec))


def _lm_eval_reads(command: str) -> argparse.Namespace:
    words = shlex.split(command)
    return HarnessCLI()._subparsers.choices["run"].parse_args(words[words.index("run") + 1 :])


def test_a_job_becomes_a_command_and_comes_back_the_same() -> None:
    parsed = parse_command(to_command(_SPEC), {})
    assert parsed.faults == []
    assert parsed.fields == _SPEC


def test_lm_eval_reads_the_command_as_the_same_job() -> None:
    command = to_command({key: value for key, value in _SPEC.items() if key != "env"})
    read = vars(_lm_eval_reads(command))
    for name in (
        "model",
        "model_args",
        "tasks",
        "num_fewshot",
        "batch_size",
        "limit",
        "gen_kwargs",
        "seed",
        "metadata",
    ):
        assert read[name] == _SPEC[name], name
    assert read["system_instruction"] == _SPEC["system_instruction"]
    assert (read["apply_chat_template"], read["fewshot_as_multiturn"]) == (True, False)


def test_defaults_are_left_out() -> None:
    spec = {
        "model": "vllm", "model_args": {"pretrained": "gpt2"}, "tasks": ["piqa"], "batch_size": "auto", "limit": None,
        "apply_chat_template": False, "seed": [0, 1234, 1234, 1234], "gen_kwargs": None, "log_samples": False,
        "replicas": "auto", "gpus_per_replica": "auto", "env": {},
    }  # fmt: skip
    assert (
        to_command(spec)
        == "lm_eval run --model vllm --model_args pretrained=gpt2 --tasks piqa --batch_size auto"
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "hf",
            "accelerate launch --num_processes 2 -m lm_eval run --model hf --model_args pretrained=x,parallelize=True",
        ),
        ("vllm", "--model_args pretrained=x,tensor_parallel_size=4,data_parallel_size=2"),
        ("sglang", "--model_args pretrained=x,tp_size=4,dp_size=2"),
        ("nemo_lm", "--model_args pretrained=x,tensor_model_parallel_size=4,devices=8"),
    ],
)
def test_replicas_and_gpus_are_written_in_the_backends_words(model: str, expected: str) -> None:
    spec = {
        "model": model,
        "model_args": {"pretrained": "x"},
        "tasks": ["a"],
        "replicas": 2,
        "gpus_per_replica": 4,
    }
    assert expected in to_command(spec)


def test_parallelism_that_the_user_wrote_is_not_written_twice() -> None:
    args = {"pretrained": "x", "tensor_parallel_size": 4, "data_parallel_size": 2}
    command = to_command(
        {"model": "vllm", "model_args": args, "tasks": ["a"], "replicas": 2, "gpus_per_replica": 4}
    )
    assert "--model_args pretrained=x,tensor_parallel_size=4,data_parallel_size=2 " in command


def test_the_name_of_a_template_comes_back_as_it_was() -> None:
    for name in ("Tool_Use", "-x", "two words"):
        spec = _SPEC | {"apply_chat_template": name}
        assert parse_command(to_command(spec), {}).fields == spec
        assert _lm_eval_reads(to_command(spec)).apply_chat_template == name


def test_what_has_a_flag_of_its_own_is_said_once() -> None:
    args = {"pretrained": "a/b", "max_batch_size": 8, "batch_size": 4}
    spec = {"model": "vllm", "model_args": args, "tasks": ["x"], "batch_size": 4, "max_batch_size": 8}
    words = "--model_args pretrained=a/b --tasks x --batch_size 4 --max_batch_size 8"
    assert to_command(spec) == f"lm_eval run --model vllm {words}"
