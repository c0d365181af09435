"""Odd values of a job's own fields: which are taken, as what, and where a fault says what is allowed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from app.errors import InvalidJobError
from app.workloads.lm_eval.spec import MOST_BATCH
from tests.workloads.lm_eval.reading.desk import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all: nothing is stored."""
    return Desk(tmp_path_factory.mktemp("desk"))


FIELDS_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"limit": -1}, "limit"),
    ({"limit": 0}, "limit"),
    ({"limit": 1e300}, "limit"),
    ({"num_fewshot": -1}, "num_fewshot"),
    ({"num_fewshot": 10**9}, "num_fewshot"),
    ({"batch_size": 0}, "batch_size"),
    ({"batch_size": -1}, "batch_size"),
    ({"batch_size": 10**9}, "batch_size"),
    ({"batch_size": "auto:0"}, "batch_size"),
    ({"batch_size": "auto:99999999999"}, "batch_size"),
    ({"batch_size": "x"}, "batch_size"),
    ({"max_batch_size": 0}, "max_batch_size"),
    ({"bootstrap_iters": 10**15}, "bootstrap_iters"),
    ({"replicas": 10**15}, "replicas"),
    ({"gpus_per_replica": 10**15}, "gpus_per_replica"),
    ({"deadline_seconds": -1}, "deadline_seconds"),
    ({"seed": [1, 2]}, "seed"),
    ({"seed": [1, 2, 3, 4, 5]}, "seed"),
    ({"seed": []}, "seed"),
    ({"seed": "a"}, "seed"),
    ({"seed": "9" * 5000}, "seed"),
    ({"seed": -1}, "seed"),
    ({"seed": [2**63, 1, 1, 1]}, "seed.0"),
    ({"samples": {}}, "samples"),
    ({"samples": {"ours": []}}, "samples.ours"),
    ({"samples": {"ours": [-1]}}, "samples.ours"),
    ({"samples": {"theirs": [1]}}, "samples.theirs"),
    ({"samples": {"ours": [1]}, "limit": 3}, "samples"),
    ({"tasks": []}, "tasks"),
    ({"tasks": ""}, "tasks"),
    ({"tasks": ","}, "tasks"),
    ({"tasks": ["ours", "x" * 100_000]}, "tasks.1"),
    ({"tasks": ["x"] * 10_000}, "tasks"),
    ({"tasks": ["o*"] * 100}, "tasks"),
    ({"tasks": "*"}, "tasks"),
    ({"name": "a\nb"}, "name"),
    ({"name": "\x1b[31m"}, "name"),
    ({"tags": ["a", "b\x7f"]}, "tags.1"),
    ({"tags": ["a\u202eb"]}, "tags.0"),
    ({"name": "a\u2028b"}, "name"),
    ({"model_args": {"attn_implementation": "x\x1b]0;owned\x07"}}, "model_args.attn_implementation"),
    ({"model_args": {"some_argument": "x\x9b2J"}}, "model_args.some_argument"),
    ({"model_args": {"some_argument": [{"a": "\u2066"}]}}, "model_args.some_argument"),
    ({"model_args": {"some_argument": {"\x1b[1m": 1}}}, "model_args.some_argument"),
    ({"model_args": "pretrained=x,some_argument=a\x1bb"}, "model_args.some_argument"),
    ({"gen_kwargs": {"some_setting": "\x1b[31m"}}, "gen_kwargs.some_setting"),
    ({"group": "x" * 10_000}, "group"),
    ({"apply_chat_template": "x" * 10_000}, "apply_chat_template"),
    ({"apply_chat_template": " "}, "apply_chat_template"),
    ({"apply_chat_template": "False", "fewshot_as_multiturn": True}, "fewshot_as_multiturn"),
    ({"env": {"NCCL_DEBUG": "a\nb"}}, "env.NCCL_DEBUG"),
    ({"env": {"NCCL_DEBUG": "x" * 100_000}}, "env.NCCL_DEBUG"),
    ({"model": "h\nf"}, "model"),
    ({"model_args": {"": 1}}, "model_args"),
    ({"model_args": {"a b": 1}}, "model_args"),
    ({"model_args": {f"a{i}": 1 for i in range(300)}}, "model_args"),
    ({"model_args": "x" * 20_000}, "model_args"),
    ({"command": "lm_eval " + "x" * 20_000}, "command"),
    (
        {"command": "lm_eval run --model hf --model_args pretrained=x --tasks ours --num_fewshot -1"},
        "num_fewshot",
    ),
    ({"metadata": '{"a": NaN}'}, "metadata.a"),
    ({"metadata": '{"a": "\\u0000"}'}, "metadata.a"),
    ({"metadata": '{"a": "\\ud800"}'}, "metadata.a"),
    ({"metadata": '{"a": 99999999999999999999}'}, "metadata.a"),
    ({"metadata": '{"a":' * 40 + "1" + "}" * 40}, "metadata" + ".a" * 32),
    ({"metadata": '{"a":' * 2000 + "1" + "}" * 2000}, "metadata"),
    ({"metadata": {"a": {1: 2}}}, "metadata.a"),
    ({"gen_kwargs": "temperature=nan"}, "gen_kwargs.temperature"),
]


@pytest.mark.parametrize(("fields", "path"), FIELDS_REFUSED, ids=[str(f)[:60] for f, _ in FIELDS_REFUSED])
def test_a_field_that_no_job_can_have_is_refused(desk: Desk, fields: dict[str, Any], path: str) -> None:
    started = time.perf_counter()
    found = desk.faults(**fields)
    assert path in found
    assert all(len(message) < 500 for message in found.values())
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "a b/c",
        "owner/name/",
        "-a",
        "a..b",
        "a--b",
        "x" * 200,
        "https://huggingface.co",
        "ä",
        5,
        "",
        {},
    ],
)
def test_a_model_that_the_hub_cannot_have_is_refused(desk: Desk, name: Any) -> None:
    assert desk.faults(model_args={"pretrained": name}).keys() == {"model_args.pretrained"}


@pytest.mark.parametrize("name", ["gpt2", "owner/name", "meta-llama/Llama-3.1-8B_x", "01-ai/Yi-1.5-9B"])
def test_a_model_of_the_hub_is_taken(desk: Desk, name: str) -> None:
    assert desk.submit(model_args={"pretrained": name}).engine.model == name


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (7, [7] * 4),
        ([1, 2, 3], [1, 2, 3, 1234]),
        ("1,2,3", [1, 2, 3, 1234]),
        ("1, None ,3,4", [1, None, 3, 4]),
        ("none,2,3,4", [None, 2, 3, 4]),
        ([None] * 4, [None] * 4),
    ],
)
def test_seeds_are_read_as_lm_eval_reads_them(desk: Desk, given: Any, taken: list[int | None]) -> None:
    assert desk.submit(seed=given).spec.seed == tuple(taken)


@pytest.mark.parametrize("given", [[5, 0, 2], [0, 2, 5, 5], [2, 2, 0, 5, 0]])
def test_chosen_documents_are_kept_in_rising_order_and_once(desk: Desk, given: list[int]) -> None:
    taken = desk.submit(samples={"ours": given})
    assert taken.spec.samples == {"ours": [0, 2, 5]}
    assert "--samples '{\"ours\": [0, 2, 5]}'" in taken.plan.command
    assert any(note.startswith("samples.ours in rising order") for note in taken.plan.explanation)


@pytest.mark.parametrize(
    ("given", "taken", "flag"),
    [
        ("true", True, "--apply_chat_template --seed"),
        (" True", True, "--apply_chat_template --seed"),
        ("FALSE", False, "--batch_size auto --seed"),
        ("RAG", "RAG", "--apply_chat_template RAG --seed"),
        ("-x y", "-x y", "'--apply_chat_template=-x y' --seed"),
    ],
)
def test_a_chat_template_is_read_as_a_pasted_command_reads_it(
    desk: Desk, given: str, taken: bool | str, flag: str
) -> None:
    job = desk.submit(apply_chat_template=given, seed=7)
    command = f"lm_eval run --model hf --model_args pretrained={desk.model} --tasks ours --seed 7"
    pasted = desk.submit(command=f"{command} '--apply_chat_template={given}'")
    assert job.spec.apply_chat_template == pasted.spec.apply_chat_template == taken
    assert flag in job.plan.command
    assert isinstance(taken, str) == any("would name it in its report" in note for note in job.notes)


def test_chosen_documents_in_rising_order_are_nothing_to_tell(desk: Desk) -> None:
    assert not any("samples" in note for note in desk.submit(samples={"ours": [0, 2, 5]}).notes)


def test_all_faults_come_at_once_with_what_is_allowed(desk: Desk) -> None:
    with pytest.raises(InvalidJobError) as refused:
        desk.submit(
            model_args={"pretrained": str(desk.model), "dtype": "float33"},
            gen_kwargs={"do_sample": "maybe"},
            limit=-1,
            seed="x",
            tasks=["theirs"],
        )
    faults = {fault.path: fault for fault in refused.value.faults}
    assert faults.keys() == {"model_args.dtype", "gen_kwargs.do_sample", "limit", "seed", "tasks.0"}
    assert "bfloat16" in (faults["model_args.dtype"].allowed or ())
    assert faults["gen_kwargs.do_sample"].allowed == ("true", "false")


def test_what_is_taken_is_json(desk: Desk) -> None:
    model_args = f"pretrained={desk.model},peft=a/b,x=(1;2),y={{'a': 1}}"
    taken = desk.submit(command=f'lm_eval run --model hf --tasks ours --model_args "{model_args}"')
    assert json.loads(json.dumps(taken.spec.to_json(), allow_nan=False))


GROUPS_REFUSED: list[tuple[str, str]] = [
    ("[ours, no_such_task]", "group 'theirs' names 'no_such_task', which is no task, group or tag"),
    ("[]", "groups without a member"),
    ("[ours, {task: [5]}]", "a member has neither"),
]


@pytest.mark.parametrize(("members", "says"), GROUPS_REFUSED)
def test_a_group_that_could_not_be_built_is_refused(desk: Desk, members: str, says: str) -> None:
    (desk.tasks / "theirs.yaml").write_text(f"group: theirs\ntask: {members}\n")
    assert says in desk.faults(tasks=["theirs"])["tasks"]


@pytest.mark.parametrize("name", ["batch_size", "max_batch_size"])
def test_a_batch_is_bounded_alike_wherever_it_is_written(desk: Desk, name: str) -> None:
    for size, refused in ((MOST_BATCH, False), (MOST_BATCH + 1, True)):
        assert bool(desk.faults(**{name: size})) is refused
        assert bool(desk.with_args(**{name: size})) is refused
    args = {"pretrained": str(desk.model), name: MOST_BATCH}
    assert getattr(desk.submit(model_args=args).spec, name) == MOST_BATCH
