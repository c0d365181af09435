"""Odd values in a posted job: which are taken, as what, and where a fault says what is allowed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.db.session import make_sessions
from app.errors import InvalidJobError
from app.settings import Settings
from tests.servers import Postgres
from tests.workloads.lm_eval.reading.test_safety import Desk


@pytest.fixture(scope="module")
def desk(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One for all: nothing is stored."""
    with postgres.database() as url:
        settings = Settings(database_url=url)
        sessions = make_sessions(settings)
        yield Desk(sessions, settings, tmp_path_factory.mktemp("desk").resolve())
        sessions.close()


MODEL_ARGS_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"dtype": {}}, "one of those allowed"),
    ({"dtype": "float33"}, "one of those allowed"),
    ({"dtype": 5}, "one of those allowed"),
    ({"dtype": "int8"}, "load_in_8bit"),
    ({"revision": {}}, "a branch, a tag or a commit"),
    ({"revision": True}, "a branch, a tag or a commit"),
    ({"revision": "a\nb"}, "a branch, a tag or a commit"),
    ({"tokenizer": "a\nb"}, "a line of text"),
    ({"max_length": "abc"}, "a whole number from 1"),
    ({"max_length": -1}, "a whole number from 1"),
    ({"max_length": 1.5}, "a whole number from 1"),
    ({"max_length": True}, "a whole number from 1"),
    ({"parallelize": "maybe"}, "true or false"),
    ({"parallelize": {}}, "true or false"),
    ({"add_bos_token": 3}, "true or false"),
    ({"batch_size": "foo"}, "auto or auto:N"),
    ({"batch_size": 0}, "auto or auto:N"),
    ({"max_batch_size": -1}, "a whole number from 1"),
    ({"backend": "jax"}, "one of those allowed"),
    ({"prefix_token_id": -1}, "a whole number from 0"),
    ({"gpu_memory_utilization": 1.5}, "at most 1"),
    ({"chat_template_args": {"chat_template": "{{ 7 * 7 }}"}}, "what the model's own template reads"),
    (
        {"chat_template_args": {"enable_thinking": True, "tokenize": True}},
        "what the model's own template reads",
    ),
    ({"chat_template_args": "enable_thinking"}, "what the model's own template reads"),
]
GEN_KWARGS_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": "hot"}, "a number of at least 0"),
    ({"temperature": -1}, "a number of at least 0"),
    ({"temperature": True}, "a number of at least 0"),
    ({"temperature": None}, "a number of at least 0"),
    ({"max_gen_toks": "abc"}, "a whole number from 1"),
    ({"max_gen_toks": 0}, "a whole number from 1"),
    ({"max_gen_toks": 1.5}, "a whole number from 1"),
    ({"max_new_tokens": -5}, "a whole number from 1"),
    ({"do_sample": "maybe"}, "true or false"),
    ({"until": 5}, "a list of at most"),
    ({"until": {"a": 1}}, "a list of at most"),
    ({"until": ["a", 5]}, "a list of at most"),
    ({"until": ["a"] * 10_000}, "a list of at most"),
    ({"top_p": 2}, "at most 1"),
    ({"top_p": "x"}, "at most 1"),
    ({"top_k": -7}, "a whole number from -1"),
    ({"repetition_penalty": 0}, "above 0"),
    ({"num_beams": 0}, "a whole number from 1"),
]


MODEL_ARGS_REFUSED += [
    ({"parallelise": True}, "did you mean parallelize?"),
    ({"dtyp": "float32"}, "did you mean dtype"),
    ({"gradient_checkpointing": True}, "is no argument of hf"),
    ({"gradient_checkpointing": None}, "is no argument of hf"),
    ({"gpu_memory_utilization": 0.8}, "is no argument of hf"),
    ({"max_model_len": 2048}, "is called max_length by hf"),
    ({"temperature": 0}, "belongs into gen_kwargs"),
    ({"seed": 5}, "the job's own `seed`"),
    ({"gpus": 2}, "gpus_per_replica"),
    ({"quantization_config": {"load_in_4bit": True}}, "load_in_4bit=True"),
    ({"attn_implementation": "flash_attention_2"}, "needs the package flash-attn"),
    ({"attn_implementation": "of_nobody"}, "one of those allowed"),
    ({"attn_implementation": 5}, "one of those allowed"),
    ({"llm_int8_threshold": 6.0}, "without load_in_4bit=True or load_in_8bit=True"),
    ({"autogptq": True}, "needs the package auto-gptq"),
    ({"gptqmodel": True}, "needs the package gptqmodel"),
    ({"softmax_dtype": "float33"}, "one of those allowed"),
    ({"softmax_dtype": "auto"}, "one of those allowed"),
    ({"mixed_precision_dtype": "auto"}, "one of those allowed"),
]
GEN_KWARGS_REFUSED += [
    ({"temprature": 0.5}, "did you mean temperature?"),
    ({"stop": ["\n"]}, "is called until by lm-eval"),
    ({"stop_strings": ["\n"]}, "is called until by lm-eval"),
    ({"seed": 3}, "the job's own `seed`"),
    ({"use_cache": False}, "is set by lm-eval itself"),
    ({"frequency_penalty": 1}, "is no generation setting of hf"),
    ({"num_return_sequences": 2}, "a whole number from 1 to 1"),
    ({"bad": {"deep": [1]}}, "is no generation setting of hf"),
    ({"until": None}, "a list of at most"),
    ({"num_beams": None}, "a whole number from 1"),
]


@pytest.mark.parametrize(("args", "says"), MODEL_ARGS_REFUSED)
def test_a_model_argument_of_a_wrong_kind_is_refused(desk: Desk, args: dict[str, Any], says: str) -> None:
    assert [(path, says in message) for path, message in desk.with_args(**args).items()] == [
        (f"model_args.{name}", True) for name in args
    ]


@pytest.mark.parametrize(("kwargs", "says"), GEN_KWARGS_REFUSED)
def test_a_generation_argument_of_a_wrong_kind_is_refused(
    desk: Desk, kwargs: dict[str, Any], says: str
) -> None:
    assert [(path, says in message) for path, message in desk.faults(gen_kwargs=kwargs).items()] == [
        (f"gen_kwargs.{name}", True) for name in kwargs
    ]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"parallelize": "True"}, {"parallelize": True}),
        ({"add_bos_token": "false"}, {"add_bos_token": False}),
        ({"truncation": 1}, {"truncation": True}),
        ({"max_length": "512"}, {"max_length": 512}),
        ({"revision": 1234567}, {"revision": 1234567}),
        ({"dtype": "bfloat16"}, {"dtype": "bfloat16"}),
        ({"tokenizer": None, "subfolder": ""}, {"tokenizer": None, "subfolder": ""}),
        ({"low_cpu_mem_usage": True}, {"low_cpu_mem_usage": True}),
        ({"rope_theta": 1e6, "use_cache": False}, {"rope_theta": 1e6, "use_cache": False}),
        ({"load_in_4bit": "True", "bnb_4bit_quant_type": "nf4"}, {"load_in_4bit": True}),
        ({"attn_implementation": "paged|sdpa"}, {"attn_implementation": "paged|sdpa"}),
        ({"attn_implementation": {"": "eager"}, "autogptq": False}, {"attn_implementation": {"": "eager"}}),
        (
            {"chat_template_args": {"enable_thinking": True}},
            {"chat_template_args": {"enable_thinking": True}},
        ),
    ],
)
def test_a_model_argument_is_typed_as_lm_eval_types_it(
    desk: Desk, given: dict[str, Any], taken: dict[str, Any]
) -> None:
    args = desk.submit(model_args={"pretrained": str(desk.model)} | given).spec.model_args
    assert {name: args[name] for name in taken} == taken


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"temperature": "0.7", "do_sample": "True"}, {"temperature": 0.7, "do_sample": True}),
        (
            "temperature=0.7,do_sample=True,until=[a,b]",
            {"temperature": 0.7, "do_sample": True, "until": "[a,b]"},
        ),
        ({"until": "x"}, {"until": "x"}),
        ({"until": ["\r\n", "\x1b"]}, {"until": ["\r\n", "\x1b"]}),
        ({"until": []}, {"until": []}),
        ({"max_gen_toks": 128.0}, {"max_gen_toks": 128}),
        ({"max_tokens": None, "top_k": -1}, {"max_tokens": None, "top_k": -1}),
        ({"top_k": None, "top_p": 0}, {"top_k": None, "top_p": 0}),
    ],
)
def test_a_generation_argument_is_typed_as_lm_eval_types_it(desk: Desk, given: Any, taken: Any) -> None:
    assert desk.submit(gen_kwargs=given).spec.gen_kwargs == taken


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


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"device": "cuda:3"}, ""),
        ({"device_map_option": "balanced", "parallelize": True}, ",parallelize=True,device_map=balanced"),
        ({"device_map_option": "auto", "device_map": "balanced"}, ",device_map=balanced"),
    ],
)
def test_spec_and_command_have_the_arguments_that_the_engine_is_given(
    desk: Desk, given: dict[str, Any], shown: str
) -> None:
    taken = desk.submit(model_args={"pretrained": str(desk.model)} | given)
    assert f"--model_args pretrained={desk.model}{shown} " in taken.plan.command
    engine = {name: value for name, value in taken.engine.args.items() if name != "softmax_dtype"}
    assert taken.spec.model_args == {"pretrained": str(desk.model), **engine}


def test_code_of_a_model_is_allowed_in_the_command_too(desk: Desk) -> None:
    taken = desk.submit({"allow_unsafe_code": True}, trust_remote_code=True)
    assert ",trust_remote_code=True " in taken.plan.command


def test_chosen_documents_in_rising_order_are_nothing_to_tell(desk: Desk) -> None:
    assert not any("samples" in note for note in desk.submit(samples={"ours": [0, 2, 5]}).notes)


def test_a_model_argument_given_twice_is_said(desk: Desk) -> None:
    taken = desk.submit(model_args=f"pretrained={desk.model},dtype=auto,dtype=float32")
    assert taken.spec.model_args["dtype"] == "float32"
    assert any("given more than once" in note for note in taken.notes)


@pytest.mark.parametrize(
    ("args", "noted"),
    [
        ({"dtype": "bfloat16"}, "in bfloat16"),
        ({"dtype": "torch.float16", "softmax_dtype": None}, "in float16"),
        ({"dtype": "auto"}, "in the model's own dtype"),
        ({}, "in the model's own dtype"),
        ({"dtype": "float32"}, None),
        ({"dtype": "bfloat16", "softmax_dtype": "float32"}, None),
    ],
)
def test_a_narrow_softmax_is_lm_evals_and_noted(desk: Desk, args: dict[str, Any], noted: str | None) -> None:
    taken = desk.submit(model_args={"pretrained": str(desk.model)} | args)
    notes = [note for note in taken.notes if "softmax_dtype=float32" in note]
    assert len(notes) == (noted is not None)
    assert all(str(noted) in note for note in notes)
    assert set(notes) <= set(taken.plan.explanation)
    assert taken.engine.args["softmax_dtype"] == args.get("softmax_dtype")
    assert taken.spec.model_args.keys() == {"pretrained", *args}


@pytest.mark.parametrize(
    ("dtype", "batch_size", "noted"),
    [
        ("bfloat16", "auto", True),
        ("float16", "auto:4", True),
        ("bfloat16", 8, False),
        ("float32", "auto", False),
    ],
)
def test_batches_that_show_in_the_numbers_are_noted(
    desk: Desk, dtype: str, batch_size: int | str, noted: bool
) -> None:
    args = {"pretrained": str(desk.model), "dtype": dtype, "softmax_dtype": "float32"}
    notes = desk.submit(model_args=args, batch_size=batch_size).notes
    assert any(f"numbers in {dtype} depend on what is batched" in note for note in notes) is noted


@pytest.mark.parametrize(
    ("settings", "noted"),
    [
        ({"do_sample": True}, True),
        ({"temperature": 0.7}, True),
        ({"temperature": 0.7, "do_sample": False}, False),
        ({"temperature": 0}, False),
        (None, False),
    ],
)
def test_samples_that_the_command_would_not_draw_are_noted(
    desk: Desk, settings: dict[str, Any] | None, noted: bool
) -> None:
    notes = desk.submit(gen_kwargs=settings).notes
    assert any("drawn otherwise than the command's" in note for note in notes) is noted


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


@pytest.mark.parametrize(
    "text", ["pretrained=" + "'" * 16_000, "x=[" + "\\'" * 8000, "x=" + "[" * 8000 + "]" * 8000]
)
def test_no_argument_string_takes_long_to_read(desk: Desk, text: str) -> None:
    started = time.perf_counter()
    desk.faults(model_args=text)
    desk.faults(command=f"lm_eval run --model hf --tasks ours --model_args {text[:16_000]}")
    assert time.perf_counter() - started < 5


def test_what_is_taken_is_json(desk: Desk) -> None:
    model_args = f"pretrained={desk.model},peft=a/b,x=(1;2),y={{'a': 1}}"
    taken = desk.submit(command=f'lm_eval run --model hf --tasks ours --model_args "{model_args}"')
    assert json.loads(json.dumps(taken.spec.to_json(), allow_nan=False))


def test_settings_that_contradict_each_other_are_refused(desk: Desk) -> None:
    assert desk.with_args(enable_thinking=True) == {
        "model_args.think_end_token": "is needed where enable_thinking is true"
    }
    assert desk.with_args(enable_thinking=True, think_end_token="</think>") == {}
    assert desk.with_args(peft="o/p", delta="o/d") == {"model_args.delta": "excludes peft"}
    assert desk.faults(gen_kwargs={"do_sample": True, "temperature": 0}) == {
        "gen_kwargs.temperature": "must be above 0 where do_sample is true, not 0"
    }
    assert desk.faults(gen_kwargs={"temperature": 0.5, "top_k": -1}).keys() == {"gen_kwargs.top_k"}
    assert desk.faults(gen_kwargs={"do_sample": True}) == {}, "a task may bring the temperature"
    assert desk.faults(gen_kwargs={"do_sample": False, "temperature": 0.7, "top_k": -1}) == {}


def test_a_name_that_only_the_models_own_files_know_is_taken(desk: Desk) -> None:
    config = json.loads((desk.model / "config.json").read_text())
    (desk.model / "config.json").write_text(json.dumps(config | {"gradient_checkpointing": False}))
    try:
        assert desk.with_args(gradient_checkpointing=True) == {}
    finally:
        (desk.model / "config.json").write_text(json.dumps(config))


def test_code_of_the_models_own_may_take_any_name(desk: Desk) -> None:
    allowed = {"allow_unsafe_code": True}
    args = {"pretrained": str(desk.model), "its_own_switch": 1}
    given = {"gen_kwargs": {"its_own_setting": 1}, "model_args": args}
    assert desk.faults(allowed, trust_remote_code=True, **given) == {}
    assert desk.faults(allowed, **given).keys() == {"gen_kwargs.its_own_setting", "model_args.its_own_switch"}


GROUPS_REFUSED: list[tuple[str, str]] = [
    ("[ours, no_such_task]", "group 'theirs' names 'no_such_task', which is no task, group or tag"),
    ("[]", "groups without a member"),
    ("[ours, {task: [5]}]", "a member has neither"),
]


@pytest.mark.parametrize(("members", "says"), GROUPS_REFUSED)
def test_a_group_that_could_not_be_built_is_refused(desk: Desk, members: str, says: str) -> None:
    (desk.tasks / "theirs.yaml").write_text(f"group: theirs\ntask: {members}\n")
    assert says in desk.faults(tasks=["theirs"])["tasks"]
