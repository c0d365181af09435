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
        "the variable $MODEL has no value here; write it out or give --set MODEL=VALUE (over HTTP: `variables`)",
        "the variable $TASK has no value here; write it out or give --set TASK=VALUE (over HTTP: `variables`)",
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


@pytest.mark.parametrize("text", ["`cat tasks.txt`", "$(cat tasks.txt)", '"$(cat tasks.txt)"', "<(cat x)"])
def test_what_needs_a_shell_is_never_run(text: str) -> None:
    (message,) = _messages(_parse(f"lm_eval --tasks {text}"))
    assert "would need a shell, which evalq never runs" in message


def test_a_placeholder_is_named_and_can_be_filled_in() -> None:
    text = "lm_eval --model_args pretrained=<model> --tasks <task1>,<task2>"
    assert _messages(_parse(text)) == [
        f"<{name}> is a placeholder; write the value itself or give --set {name}=VALUE (over HTTP: `variables`)"
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
        " (over HTTP: `variables`)"
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
        "more than one lm_eval command is in here: the one in line 1 is read, the one in line 2 is not;"
        " submit them one at a time"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "rm -rf /",
        "pip install lm_eval",
        "conda activate lm_eval",
        "python serve.py --tasks a",
    ],
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
    ("launcher", "replicas"),
    [
        ("srun accelerate launch --num_processes 6", 6),
        ("accelerate launch --num_machines 4 --num_processes 32", 32),
        ("accelerate launch --num_machines 4 --num_processes 32 --machine_rank $NODE_RANK", 32),
        ("torchrun --nnodes=2 --nproc-per-node=4", 8),
        ("torchrun --nnodes 1:1 --nproc-per-node=4", 4),
        ("srun -N 3 --gpus-per-node=4 accelerate launch", 12),
        ("srun -N2 --gres=gpu:a100:4 torchrun --nproc-per-node gpu", 8),
        ("CUDA_VISIBLE_DEVICES=0,1 srun --nodes=2 accelerate launch", 4),
    ],
)
def test_processes_of_all_machines_become_replicas(launcher: str, replicas: int) -> None:
    parsed = _parse(f"{launcher} -m lm_eval --model hf --tasks a")
    assert parsed.faults == []
    assert parsed.fields["replicas"] == replicas
    assert any(f"world size {replicas} " in note for note in parsed.notes)


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999", "1e3", "", "$N"])
def test_a_number_of_processes_that_is_none_is_a_fault(number: str) -> None:
    (fault,) = _parse(f"accelerate launch --num_processes={number} -m lm_eval --model hf --tasks a").faults
    assert "no whole number" in fault.message or "$N has no value" in fault.message


def test_what_starts_processes_in_ways_unknown_is_refused_in_words() -> None:
    (message,) = _messages(_parse("mpirun -n 4 python -m lm_eval --model hf --tasks a"))
    assert "`replicas`" in message


def test_nemo_on_several_machines_is_refused() -> None:
    text = "torchrun --nnodes=2 --nproc-per-node=4 lm_eval --model nemo_lm --model_args path=m.nemo,devices=8"
    assert _messages(_parse(text)) == ["nemo_lm runs on one machine only, not on 2; use replicas for more"]


@pytest.mark.parametrize(
    "before",
    [
        "docker run --gpus all -v /a:/b --name lm_eval image",
        "conda run -n lm_eval --no-capture-output",
        "singularity exec --nv image.sif",
        "timeout 3600",
        "nice -n 10 sudo -E",
        "time uv run",
        "(venv) me@host:~/work$",
        "cd work &&",
        "if true; then",
        "run() {",
        "(cd work;",
        "ray start --head --port=6379;",
    ],
)
def test_a_command_is_found_behind_what_starts_it(before: str) -> None:
    parsed = _parse(f"{before} lm_eval --model hf -b 1 --tasks a")
    assert parsed.faults == []
    assert parsed.fields == {"model": "hf", "batch_size": 1, "tasks": ["a"]}


def test_a_blank_after_a_backslash_still_continues_the_line() -> None:
    parsed = _parse("lm_eval --model hf \\ \n  --tasks arc_easy \\\t\n --limit 5")
    assert parsed.faults == []
    assert (parsed.fields["tasks"], parsed.fields["limit"]) == (["arc_easy"], 5)


def test_an_open_quote_is_a_fault() -> None:
    assert "never closed" in _messages(_parse("lm_eval --system_instruction 'Be brief."))[0]
