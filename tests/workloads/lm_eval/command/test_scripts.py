"""A whole script: assignments, sums, loops, `#SBATCH` lines, heredocs. What only a shell could know is named."""

from __future__ import annotations

import pytest

from app.workloads.lm_eval.command.command_line import ParsedCommand, parse_command

PLAIN = {"model": "hf", "batch_size": 1, "tasks": ["a"]}
RUN = "lm_eval --model hf -b 1 --tasks a"


def _parse(text: str, **variables: str) -> ParsedCommand:
    return parse_command(text, variables)


def _messages(text: str, **variables: str) -> list[str]:
    return [fault.message for fault in _parse(text, **variables).faults]


def _model(text: str, **variables: str) -> object:
    parsed = _parse(f"{text}\nlm_eval --model_args pretrained=$M", **variables)
    assert parsed.faults == []
    return parsed.fields["model_args"]["pretrained"]


def test_plain_assignments_of_the_text_are_used() -> None:
    assert _model("M=gpt2") == "gpt2"
    assert _model("BASE=/models\nexport M=$BASE/llama") == "/models/llama"
    assert _model("M=a\nM+=b") == "ab"
    assert _model("M=${1:-gpt2}") == "gpt2"
    assert _model("M=\nM=${M:-b}") == "b", "empty counts as not set"
    assert _model(': "${M:=gpt2}"') == "gpt2"
    assert _model('M=$"gpt2"') == "gpt2"
    assert _model("M=gpt2", M="mine") == "mine", "what is given beside the text stands"
    assert _model("declare -r M=x; readonly N=1") == "x"
    assert "env" not in _parse(f"M=gpt2\n{RUN}").fields
    assert "env" not in _parse(f"export M=gpt2\n{RUN} --limit 5 --model_args pretrained=$M").fields


def test_a_variable_of_several_words_is_several_words_outside_of_quotes() -> None:
    text = 'COMMON="--model hf -b 1"\nEMPTY=\nlm_eval $COMMON $EMPTY --tasks a --system_instruction "$COMMON"'
    assert _parse(text).fields == PLAIN | {"system_instruction": "--model hf -b 1"}
    assert _parse(f'CMD="{RUN}"\n$CMD').fields == PLAIN


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("if [ -z x ]; then M=a; else M=b; fi", "depends on a condition or a loop"),
        ("[ -z x ] && M=a", "depends on a condition or a loop"),
        ("false || M=a", "depends on a condition or a loop"),
        ("M=a\nwhile true; do M=b; done", "depends on a condition or a loop"),
        ("f() { M=a; }", "depends on a condition or a loop"),
        ("for M in a b c; do", "$M is each of a b c in turn: submit one job for each"),
        ("for M in a b; do true; done; M=${M-x}", "each of a b in turn"),
        ("if true; then : ${M:=a}; fi", "depends on a condition or a loop"),
        ("case x in a) M=a ;; b|c) M=b ;; esac", "depends on a condition or a loop"),
        ("N=a M=$N", "is set beside others in one line that use each other"),
        ("M=(a b)", "is a list, which only a shell takes apart"),
        ("M=4; ((M*=2))", "is not known here"),
        ("M=4; let M=5", "is not known here"),
        ("M=4; read M", "is not known here"),
        ("M=4; unset M", "is not known here"),
        ("M=$(ls)", "$(ls) would need a shell, which evalq never runs"),
        ("M=`ls`", "`ls` would need a shell"),
        ("HF_TOKEN=hf_verysecret; M=$HF_TOKEN", "the credential $HF_TOKEN is never taken from a command"),
        ("M=a; " + "M+=$M$M; " * 40, "has more than 16384 characters"),
    ],
)
def test_a_value_that_only_a_shell_could_know_is_not_guessed(text: str, says: str) -> None:
    messages = _messages(f"{text}\nlm_eval --model_args pretrained=$M")
    assert any(says in message for message in messages), messages
    assert "hf_verysecret" not in repr(messages)


def test_a_value_that_is_missing_matters_only_where_its_word_does() -> None:
    text = (
        "cd $WORK\nNOW=$(date)\naccelerate launch --main_process_ip $MASTER_IP --num_processes 2 -m "
        f"{RUN} --output_path out/$NOW-$SLURM_JOB_ID --device=$DEVICE"
    )
    assert _messages(text) == []
    assert _parse(text).fields == PLAIN | {"replicas": 2}
    assert _messages(f"{RUN} --limit $N") == [
        "the variable $N has no value here; write it out or give --set N=VALUE (over HTTP: `variables`)"
    ]


def test_values_that_double_each_other_end_in_words() -> None:
    text = "A=" + "x" * 8000 + "\n" + RUN + " --system_instruction " + "$A" * 1000
    assert _messages(text) == ["the variables of this text would make more than 200000 characters of it"]


SCRIPT = "#!/bin/bash\n#SBATCH --nodes=4\n#SBATCH --gpus-per-node=8\n#SBATCH -t 10:00 --partition=gpu\n"


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("srun accelerate launch --num_processes $((SLURM_NNODES * 8)) -m {}", {"replicas": 32}),
        ("srun accelerate launch --multi_gpu -m {}", {"replicas": 32}),
        ("accelerate launch --multi_gpu -m {}", {"replicas": 8}),
        ("srun torchrun --nnodes $SLURM_NNODES --nproc-per-node $SLURM_GPUS_ON_NODE -m {}", {"replicas": 32}),
        ("srun {}", {}),
        ("{} --model_args parallelize=True", {"gpus_per_replica": 8, "model_args": {"parallelize": True}}),
    ],
)
def test_a_script_of_slurm_ends_in_the_fields_of_the_plain_command(command: str, more: object) -> None:
    parsed = _parse(f"{SCRIPT}\nmodule load cuda\n{command.format(RUN)}")
    assert parsed.faults == []
    assert parsed.fields == PLAIN | dict(more)  # type: ignore[call-overload]
    assert "#SBATCH lines are read as 4 nodes, 8 GPUs per node" in parsed.notes[0]


@pytest.mark.parametrize(
    "lines",
    [
        "#SBATCH --nodes=4\n#SBATCH --gpus=32",
        "#SBATCH -N 4 -G 32 # all of them",
        "#SBATCH -N4\n#SBATCH --gres=gpu:a100:8,lscratch:10",
        "#SBATCH --nodes 4\n#SBATCH --gpus-per-task=2 --ntasks-per-node=4",
    ],
)
def test_slurm_has_several_ways_to_say_it(lines: str) -> None:
    assert _parse(f"#!/bin/bash\n{lines}\nsrun accelerate launch -m {RUN}").fields["replicas"] == 32


def test_a_directive_behind_the_first_command_is_a_comment() -> None:
    assert "replicas" not in _parse(f"set -e\n#SBATCH --nodes=4 -G 8\naccelerate launch -m {RUN}").fields


def test_a_loop_over_tasks_is_one_job_for_each() -> None:
    text = "for task in mmlu gsm8k; do\n  lm_eval --model hf -b 1 --tasks $task\ndone\necho done"
    assert _messages(text) == [
        "$task is each of mmlu gsm8k in turn: submit one job for each; write it out or give --set task=VALUE"
        " (over HTTP: `variables`)"
    ]
    parsed = _parse(text, task="mmlu")
    assert parsed.faults == []
    assert parsed.fields["tasks"] == ["mmlu"]
    assert "`for` is not followed, since no shell is run: what stands inside is read once" in parsed.notes


@pytest.mark.parametrize("marker", ["<<EOF", "<<'EOF'", "<<-EOF", '<< "EOF"'])
def test_the_text_of_a_heredoc_is_no_command(marker: str) -> None:
    parsed = _parse(f"cat > job.sh {marker}\n{RUN} --limit 3\nEOF\n{RUN}\n")
    assert [fault.message for fault in parsed.faults] == [
        "the text up to EOF (<<) is for another program, which is not run: paste the lm_eval command by itself"
    ]
    assert parsed.fields == PLAIN, "what follows it is read"


@pytest.mark.parametrize("rest", ["2>&1; true", "> /dev/null 2>&1 && true", "2>&1|cat", "< /dev/null 3>&-;"])
def test_a_redirection_leaves_no_word_behind(rest: str) -> None:
    parsed = _parse(f"{RUN} {rest}")
    assert (parsed.fields, parsed.faults) == (PLAIN, [])


def test_a_line_that_lost_its_backslash_is_told_so() -> None:
    assert _messages("lm_eval --model hf\n  --tasks a") == [
        "line 2 begins with a flag: a \\ is missing at the end of the line before it"
    ]


@pytest.mark.parametrize("program", ["sbatch", "qsub"])
def test_a_script_that_is_handed_on_is_asked_for(program: str) -> None:
    (message,) = _messages(f"{program} --export=ALL run.sh")
    assert message.endswith("paste the script itself (evalq submit run.sh)")


@pytest.mark.parametrize(
    "text",
    [
        "python train.py --lr 1",
        "accelerate launch --num_processes 8 finetune.py",
        "torchrun run_sft.py",
        "./train.sh",
        "bash scripts/pretrain.sh",
        "deepspeed train.py",
    ],
)
def test_what_trains_is_answered_with_what_evalq_offers(text: str) -> None:
    (message,) = _messages(text)
    assert "trains a model" in message
    assert "drain" in message


def test_what_follows_is_named_and_never_run() -> None:
    parsed = _parse(f"{RUN}\nrm -rf /\npython train.py\nA=1 curl x | sh")
    assert parsed.faults == []
    assert parsed.fields == PLAIN
    assert {"`rm` is not run", "`python` is not run", "`curl` is not run", "`sh` is not run"} <= set(
        parsed.notes
    )


def test_the_launchers_own_environment_falls_away() -> None:
    parsed = _parse(
        f"export MASTER_ADDR=a MASTER_PORT=1\nACCELERATE_USE_FSDP=0 NODE_RANK=1 NCCL_DEBUG=INFO {RUN}"
    )
    assert parsed.fields == PLAIN | {"env": {"NCCL_DEBUG": "INFO"}}


def test_that_code_may_run_is_the_jobs_own_to_confirm() -> None:
    parsed = _parse(f"HF_ALLOW_CODE_EVAL=1 {RUN} --confirm_run_unsafe_code")
    assert parsed.faults == []
    assert parsed.fields == PLAIN | {"confirm_run_unsafe_code": True}
    assert any("HF_ALLOW_CODE_EVAL" in note for note in parsed.notes)


def test_a_launchers_file_of_settings_counts_as_its_options() -> None:
    text = f"accelerate launch --config_file conf.yaml -m {RUN}"
    unknown = _parse(text)
    assert unknown.faults == []
    assert unknown.file_names == ("conf.yaml",)
    assert "'conf.yaml' is a file of your machine" in unknown.notes[0]
    known = {"distributed_type": "MULTI_GPU", "num_machines": 2, "num_processes": 16, "mixed_precision": "no"}
    assert parse_command(text, {}, {"conf.yaml": known}).fields == PLAIN | {"replicas": 16}
    wins = text.replace("launch", "launch --num_processes 3")
    assert parse_command(wins, {}, {"conf.yaml": known}).fields == PLAIN | {"replicas": 3}
    broken = parse_command(text, {}, {"conf.yaml": known | {"num_processes": {"a": [1]}}})
    assert "no whole number" in broken.faults[0].message
