"""What stands around lm_eval in a pasted command: a shell's words, other programs, launchers, credentials."""

import pytest

from app.workloads.lm_eval.command.command_line import ParsedCommand, parse_command


def _parse(text: str, **variables: str) -> ParsedCommand:
    return parse_command(text, variables)


def _messages(parsed: ParsedCommand) -> list[str]:
    return [fault.message for fault in parsed.faults]


def test_a_variable_without_a_value_is_named() -> None:
    parsed = _parse('lm_eval --model_args "pretrained=$MODEL,revision=${REV:-main}" --tasks ${TASK}')
    assert _messages(parsed) == [
        "the variable $MODEL has no value here; write it out or give --set MODEL=VALUE",
        "the variable $TASK has no value here; write it out or give --set TASK=VALUE",
    ]


def test_a_variable_is_filled_in() -> None:
    parsed = _parse(
        'lm_eval --model_args "pretrained=$MODEL,revision=${REV:-main}" --tasks $TASK',
        MODEL="gpt2",
        TASK="piqa",
    )
    assert parsed.faults == []
    assert parsed.fields["model_args"] == {"pretrained": "gpt2", "revision": "main"}
    assert parsed.fields["tasks"] == ["piqa"]


def test_a_single_quoted_dollar_is_a_letter() -> None:
    assert _parse("lm_eval --system_instruction 'costs $5 and $X'").faults == []


@pytest.mark.parametrize("text", ["`cat tasks.txt`", "$(cat tasks.txt)", '"$(cat tasks.txt)"', "$((2 * 4))"])
def test_what_needs_a_shell_is_never_run(text: str) -> None:
    (message,) = _messages(_parse(f"lm_eval --tasks {text}"))
    assert "would need a shell, which evalq never runs" in message


def test_a_placeholder_is_named_and_can_be_filled_in() -> None:
    text = "lm_eval --model_args pretrained=<model> --tasks <task1>,<task2>"
    assert _messages(_parse(text)) == [
        f"<{name}> is a placeholder; write the value itself or give --set '{name}=VALUE'"
        for name in ("model", "task1", "task2")
    ]
    parsed = parse_command(text, {"model": "gpt2", "task1": "a", "task2": "b"})
    assert parsed.faults == []
    assert parsed.fields["tasks"] == ["a", "b"]


def test_a_quoted_placeholder_is_named_but_a_special_token_is_text() -> None:
    parsed = _parse(
        'lm_eval --model_args "pretrained=<your model>,think_end_token=<think>" --gen_kwargs "until=<s>"'
    )
    assert _messages(parsed) == [
        "<your model> is a placeholder; write the value itself or give --set 'your model=VALUE'"
    ]
    assert parsed.fields["gen_kwargs"] == {"until": "<s>"}


def test_dots_for_left_out_arguments_are_refused() -> None:
    assert _messages(_parse("lm_eval --model hf ...")) == [
        "... stands for arguments that were left out; write them"
    ]


@pytest.mark.parametrize(
    "rest",
    [
        "2>&1 | tee run.log",
        "> run.log 2>&1",
        "&> run.log",
        ">> run.log &",
        "&& echo done",
        "; date",
        "|| true",
    ],
)
def test_what_follows_for_the_shell_is_left_out_with_a_note(rest: str) -> None:
    parsed = _parse(f"lm_eval --tasks arc_easy -b 1 --model hf {rest}")
    assert parsed.faults == []
    assert parsed.fields == {"tasks": ["arc_easy"], "batch_size": 1, "model": "hf"}
    assert parsed.notes


def test_commands_around_lm_eval_are_not_run() -> None:
    parsed = _parse(
        "cd work && conda activate lm_eval\nexport NCCL_DEBUG=INFO\npip install lm_eval\nlm_eval --tasks arc_easy"
    )
    assert parsed.faults == []
    assert parsed.fields["env"] == {"NCCL_DEBUG": "INFO"}
    assert {"`cd` is not run", "`conda` is not run", "`pip` is not run"} <= set(parsed.notes)


def test_two_commands_are_refused() -> None:
    assert _messages(_parse("lm_eval --tasks a\nlm_eval --tasks b")) == [
        "more than one lm_eval command is in here; submit them one at a time"
    ]


@pytest.mark.parametrize(
    "text", ["", "# nothing", "rm -rf /", "docker run x lm_eval --tasks a", "python train.py --tasks a"]
)
def test_what_is_no_lm_eval_command_is_refused(text: str) -> None:
    parsed = _parse(text)
    assert "no lm_eval command is in here" in _messages(parsed)[0]
    assert parsed.fields == {}


@pytest.mark.parametrize(
    "text",
    [
        "HF_TOKEN=hf_verysecret lm_eval --tasks a",
        "export WANDB_API_KEY=hf_verysecret\nlm_eval --tasks a",
        "lm_eval --tasks a --hf_hub_log_args token=hf_verysecret",
        "lm_eval --tasks a --model_args pretrained=x,token=hf_verysecret",
        "HF_TOKEN=hf_verysecret python train.py",
    ],
)
def test_a_credential_is_refused_and_never_repeated(text: str) -> None:
    parsed = _parse(text)
    assert parsed.faults
    assert "hf_verysecret" not in repr(parsed)


def test_a_tokenizer_setting_is_no_credential() -> None:
    parsed = _parse(
        "TOKENIZERS_PARALLELISM=false lm_eval --tasks a --model_args pretrained=x,think_end_token=y"
    )
    assert parsed.faults == []
    assert parsed.fields["env"] == {"TOKENIZERS_PARALLELISM": "false"}


def test_visible_devices_are_a_number_of_gpus() -> None:
    launched = _parse("CUDA_VISIBLE_DEVICES=0,1 accelerate launch -m lm_eval --model hf --tasks a")
    assert launched.fields["replicas"] == 2
    assert "env" not in launched.fields
    split = _parse(
        "CUDA_VISIBLE_DEVICES=2,3,5,7 lm_eval --model hf --model_args pretrained=x,parallelize=True --tasks a"
    )
    assert split.fields["gpus_per_replica"] == 4
    assert "CUDA_VISIBLE_DEVICES=2,3,5,7 is read as 4 GPUs, not as which" in split.notes


@pytest.mark.parametrize(
    "launcher",
    [
        "accelerate launch --multi_gpu --num_processes 4 -m lm_eval",
        "accelerate launch --num_processes=4 --mixed_precision bf16 --main_process_port 29501 -m lm_eval",
        "accelerate launch --gpu_ids 0,1,2,3 -m lm_eval",
        "torchrun --nproc-per-node=4 --no-python lm_eval",
        "torchrun --standalone --nproc_per_node 4 -m lm_eval",
        "python -m torch.distributed.run --nproc-per-node 4 -m lm_eval",
    ],
)
def test_processes_of_a_launcher_become_replicas(launcher: str) -> None:
    parsed = _parse(f"{launcher} --model hf --model_args pretrained=x --tasks a")
    assert parsed.faults == []
    assert parsed.fields["replicas"] == 4


def test_the_devices_of_nemo_decide_and_not_torchrun() -> None:
    parsed = _parse(
        "torchrun --nproc-per-node=8 --no-python lm_eval --model nemo_lm --model_args path=m.nemo,devices=8"
    )
    assert "replicas" not in parsed.fields


@pytest.mark.parametrize(
    "launcher",
    [
        "srun accelerate launch",
        "mpirun -n 4 python",
        "accelerate launch --num_machines 4",
        "torchrun --nnodes=2 --nproc-per-node=8",
    ],
)
def test_several_machines_are_refused_in_words(launcher: str) -> None:
    (message,) = _messages(_parse(f"{launcher} -m lm_eval --model hf --tasks a"))
    assert "`replicas`" in message


def test_a_blank_after_a_backslash_still_continues_the_line() -> None:
    parsed = _parse("lm_eval --model hf \\ \n  --tasks arc_easy \\\t\n --limit 5")
    assert parsed.faults == []
    assert (parsed.fields["tasks"], parsed.fields["limit"]) == (["arc_easy"], 5)


def test_an_open_quote_is_a_fault() -> None:
    assert "never closed" in _messages(_parse("lm_eval --system_instruction 'Be brief."))[0]
