"""Arguments of models and generation settings: which are taken, as what, and where a fault says what is allowed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.workloads.lm_eval.reading.desk import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all: nothing is stored."""
    return Desk(tmp_path_factory.mktemp("desk"))


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
    ({"attn_implementation": {"text_config": "flash_attention_3"}}, "needs the package flash-attn-3"),
    ({"attn_implementation": {"": {"deep": "paged|flash_attention_4"}}}, "needs the package flash-attn-4"),
    ({"attn_implementation": "paged|eager"}, "is for serving alone: say eager"),
    ({"attn_implementation": {"": "sdpa", "vision": "paged|eager"}}, "is for serving alone: say eager"),
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


@pytest.mark.parametrize(
    "text", ["pretrained=" + "'" * 16_000, "x=[" + "\\'" * 8000, "x=" + "[" * 8000 + "]" * 8000]
)
def test_no_argument_string_takes_long_to_read(desk: Desk, text: str) -> None:
    started = time.perf_counter()
    desk.faults(model_args=text)
    desk.faults(command=f"lm_eval run --model hf --tasks ours --model_args {text[:16_000]}")
    assert time.perf_counter() - started < 5


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
