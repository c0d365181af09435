"""What a posted job may not bring along, tried through the whole check of a submission."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.api.problems import as_json
from app.api.submission import dry_run_out
from app.domain.keys import Role, new_token
from app.errors import InvalidJobError
from app.settings import Settings
from app.web.problems import problem_of
from tests.faults.model import make_model
from tests.workloads.lm_eval.reading.desk import TASK, Desk

HF_TOKEN = "hf_" + "a1B2c3D4e5" * 4


def test_a_job_without_any_of_it_is_taken(desk: Desk) -> None:
    assert desk.faults() == {}


@pytest.mark.parametrize(
    "path",
    [
        "{outside}",
        "{models}/../outside",
        "{models}/tiny/../../outside",
        "/etc",
        "~",
        "~nobody-is-called-so/x",
    ],
)
def test_a_model_outside_the_operators_folders_is_refused(desk: Desk, path: str) -> None:
    named = path.format(outside=desk.outside, models=desk.models)
    assert "outside" in desk.faults(model_args={"pretrained": named})["model_args.pretrained"]


def test_a_link_that_leads_outside_is_refused(desk: Desk) -> None:
    make_model(desk.outside / "theirs")
    (desk.models / "link").symlink_to(desk.outside / "theirs")
    (desk.models / "loop").symlink_to(desk.models / "loop")
    for name in ("link", "loop"):
        found = desk.faults(model_args={"pretrained": str(desk.models / name)})
        assert "outside" in found["model_args.pretrained"]


def test_a_link_swapped_after_submission_changes_nothing(desk: Desk) -> None:
    link = desk.models / "latest"
    link.symlink_to(desk.model)
    submission = desk.submit(model_args={"pretrained": str(link)})
    link.unlink()
    link.symlink_to(desk.outside)
    assert submission.engine.model == str(desk.model)
    assert submission.spec.model_args["pretrained"] == str(desk.model)
    assert str(link) not in submission.plan.command


def test_whether_a_file_exists_outside_is_not_told(desk: Desk) -> None:
    there, absent = desk.outside / "there", desk.outside / "absent"
    there.mkdir()
    messages = [
        desk.faults(model_args={"pretrained": str(path)})["model_args.pretrained"].replace(path.name, "x")
        for path in (there, absent)
    ]
    assert messages[0] == messages[1]


@pytest.mark.parametrize("name", ["tokenizer", "peft", "delta", "cache_dir", "adapter_kwargs"])
def test_other_paths_of_the_engine_are_held_to_the_same_folders(desk: Desk, name: str) -> None:
    def wrapped(path: Path) -> Any:
        return {"model": str(path)} if name == "adapter_kwargs" else str(path)

    [(where, message)] = desk.with_args(**{name: wrapped(desk.outside)}).items()
    assert where.startswith(f"model_args.{name}")
    assert "outside" in message
    (desk.models / "link").symlink_to(desk.model)
    taken = desk.submit(model_args={"pretrained": str(desk.model), name: wrapped(desk.models / "link")})
    assert taken.engine.args[name] == wrapped(desk.model)
    assert taken.spec.model_args[name] == wrapped(desk.model)


@pytest.mark.parametrize(
    "value",
    [
        "file://{outside}/x",
        "local://{outside}",
        "simplecache::file://{models}/../outside",
        "file://localhost{models}/tiny",
        "https://somewhere.else/models/tiny",
        "s3://bucket/tiny",
        "://{outside}",
    ],
)
@pytest.mark.parametrize("name", ["tokenizer", "peft", "cache_dir", "adapter_kwargs"])
def test_a_scheme_before_a_path_opens_no_door(desk: Desk, name: str, value: str) -> None:
    named = value.format(outside=desk.outside, models=desk.models)
    found = desk.with_args(**{name: [named] if name == "adapter_kwargs" else named})
    assert "outside" in found["model_args." + (f"{name}.0" if name == "adapter_kwargs" else name)]


def test_a_path_inside_is_opened_without_its_scheme(desk: Desk) -> None:
    args = {"pretrained": str(desk.model), "tokenizer": f"file://{desk.models}/../models/tiny"}
    assert desk.submit(model_args=args).engine.args["tokenizer"] == str(desk.model)


@pytest.mark.parametrize("value", ["a b", "file:x", "a\\b", ".hidden/x", "--upload", "owner/a--b"])
@pytest.mark.parametrize("name", ["tokenizer", "peft", "delta"])
def test_what_is_no_folder_must_be_a_name_on_the_hub(desk: Desk, name: str, value: str) -> None:
    assert (
        "neither `owner/name` on the hub nor a folder"
        in desk.with_args(**{name: value})[f"model_args.{name}"]
    )
    assert desk.with_args(**{name: "owner/name"}) == {}


@pytest.mark.parametrize("revision", ["/etc/hostname", "../../x", "a/../../b", "~/x", "a\\b"])
def test_a_revision_is_no_path(desk: Desk, revision: str) -> None:
    model_args = {"pretrained": "owner/name", "revision": revision}
    assert "branch, a tag or a commit" in desk.faults(model_args=model_args)["model_args.revision"]


def test_a_revision_may_have_folders_in_its_name(desk: Desk) -> None:
    taken = desk.submit(model_args={"pretrained": "owner/name", "revision": "refs/pr/1"})
    assert taken.engine.revision == "refs/pr/1"


@pytest.mark.parametrize("value", ["/etc/passwd", "../x", "a/../../x", "~/x", ["file:///etc"], {"a": ".."}])
def test_no_metadata_leads_outside(desk: Desk, value: Any) -> None:
    [(where, message)] = desk.faults(metadata={"source": value}).items()
    assert where.startswith("metadata.source")
    assert "outside" in message


def test_other_metadata_stays_as_it_is(desk: Desk) -> None:
    metadata = {"date": "01/02/2026", "model": "gpt2", "sizes": [1, 2.5], "note": "and/or", "dots": "..."}
    assert desk.submit(metadata=dict(metadata)).spec.metadata == metadata
    inside = desk.submit(metadata={"source": f"{desk.models}/../models/tiny"})
    assert inside.spec.metadata == {"source": str(desk.model)}


def test_what_a_template_reads_is_opened_by_nobody(desk: Desk) -> None:
    args = {"date_string": "26/07/2026", "url": "https://somewhere.else", "enable_thinking": False}
    taken = desk.submit(model_args={"pretrained": str(desk.model), "chat_template_args": args})
    assert taken.engine.args["chat_template_args"] == args


def test_the_tokenizer_of_synthetic_tasks_is_held_to_them_too(desk: Desk) -> None:
    assert "outside" in desk.faults(metadata={"tokenizer": "/etc"})["metadata.tokenizer"]


@pytest.mark.parametrize("name", ["{outside}/x.yaml", "../outside/x.yaml", "/etc/passwd", "ours/../../x"])
def test_a_task_is_named_never_pointed_at(desk: Desk, name: str) -> None:
    (desk.outside / "x.yaml").write_text(TASK.format(name="x"))
    assert "tasks.0" in desk.faults(tasks=[name.format(outside=desk.outside, tasks=desk.tasks)])


def test_a_task_file_that_is_a_link_to_elsewhere_is_refused(desk: Desk) -> None:
    (desk.outside / "x.yaml").write_text(TASK.format(name="x"))
    (desk.tasks / "x.yaml").symlink_to(desk.outside / "x.yaml")
    (desk.tasks / "again.yaml").symlink_to(desk.tasks / "ours.yaml")
    assert "outside the operator's task folders" in desk.faults(tasks=["x"])["tasks"]
    assert desk.faults(tasks=["ours"]) == {}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"metadata": {"token": "short"}}, "metadata.token"),
        ({"metadata": "hf_token=short"}, "metadata.hf_token"),
        ({"env": {"NCCL_DEBUG": HF_TOKEN}}, "env.NCCL_DEBUG"),
        ({"name": f"with {HF_TOKEN}"}, "name"),
        ({"tags": [new_token()]}, "tags.0"),
        ({"system_instruction": HF_TOKEN}, "system_instruction"),
        ({"command": f"HF_TOKEN={HF_TOKEN} lm_eval run --model hf"}, "command"),
        ({"command": f"export HF_TOKEN={HF_TOKEN}; lm_eval run --model hf"}, "command"),
        (
            {"command": f"lm_eval run --model hf --model_args token={HF_TOKEN} --tasks ours"},
            "model_args.token",
        ),
    ],
)
def test_credentials_are_refused_and_not_repeated(desk: Desk, fields: dict[str, Any], path: str) -> None:
    found = desk.faults(**fields)
    assert "credentials are never taken" in found[path]
    assert HF_TOKEN not in str(found)
    assert "evq_" not in str(found)


@pytest.mark.parametrize(
    "fields",
    [
        {"model_args": {HF_TOKEN: "x"}},
        {"model_args": {"x": {"y": [{f"my_{HF_TOKEN}": None}]}}},
        {"model_args": {f"{HF_TOKEN}-": "x"}},
        {"gen_kwargs": {HF_TOKEN: "x"}},
        {"metadata": {"a": {HF_TOKEN: {}}}},
        {"env": {HF_TOKEN: "x"}},
        {"samples": {HF_TOKEN: [1]}},
        {HF_TOKEN: "x"},
        {"tasks": [HF_TOKEN]},
        {"group": HF_TOKEN},
        {"command": f"lm_eval run --model_args pretrained=x,{HF_TOKEN}=x --tasks ours", "model_args": None},
        {"command": f"lm_eval run --model hf --{HF_TOKEN} x --tasks ours"},
        {"command": f"{HF_TOKEN}=x lm_eval run --model hf --tasks ours"},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_a_credential_used_as_a_name_is_refused_and_not_repeated(desk: Desk, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidJobError) as refused:
        desk.submit(**fields)
    assert HF_TOKEN[:20] not in bytes(as_json(problem_of(refused.value)).body).decode()
    submissions = SimpleNamespace(check=lambda _: desk.submit(**fields))
    services: Any = SimpleNamespace(submissions=submissions, settings=Settings())
    assert HF_TOKEN[:20] not in bytes(dry_run_out(services, {}, Role.SUBMITTER).body).decode()


@pytest.mark.parametrize("name", ["token", "hf_token", "use_auth_token", "api_key"])
def test_credentials_of_a_model_are_refused(desk: Desk, name: str) -> None:
    for args in ({name: "short"}, f"pretrained={desk.model},{name}=short"):
        model_args = {"pretrained": str(desk.model)} | args if isinstance(args, dict) else args
        found = desk.faults(model_args=model_args)
        assert list(found) == [f"model_args.{name}"]
        assert "short" not in found[f"model_args.{name}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trust_remote_code", True),
        ("weights_only", False),
        ("attn_implementation", "kernels-community/flash-attn2"),
        ("use_kernels", True),
        ("worker_cls", "somewhere.Else"),
        ("logits_processors", ["somewhere.Else"]),
        ("tool_parser_plugin", "x.py"),
        ("attn_implementation", {"text_config": "kernels-community/flash-attn2"}),
        ("attn_implementation", "paged|kernels-community/flash-attn2"),
        ("experts_implementation", "someone/experts"),
        ("allow_all_kernels", True),
        ("kernel_config", {"RMSNorm": "someone/kernel:RMSNorm"}),
        ("text_config", {"attn_implementation": "someone/kernel"}),
        ("auto_map", {"AutoModelForCausalLM": "someone/model--code.Model"}),
        ("kv_transfer_config", {"kv_connector_module_path": "somewhere.else"}),
    ],
)
def test_code_of_the_users_choice_needs_the_operators_switch(desk: Desk, name: str, value: Any) -> None:
    switch = "EVALQ_ALLOW_UNSAFE_CODE"
    [where] = [path for path, message in desk.with_args(**{name: value}).items() if switch in message]
    assert where.startswith(f"model_args.{name}")
    model_args = {"pretrained": str(desk.model), name: value}
    assert switch not in str(desk.faults({"allow_unsafe_code": True}, model_args=model_args))


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("_attn_implementation", "owner/kernel", "model_args._attn_implementation"),
        ("_attn_implementation_internal", "eager", "model_args._attn_implementation_internal"),
        ("_name_or_path", "gpt2", "model_args._name_or_path"),
        ("__class__", None, "model_args.__class__"),
        (
            "text_config",
            {"_attn_implementation": "owner/kernel"},
            "model_args.text_config._attn_implementation",
        ),
        ("layers", [{"a": [{"_b": 1}]}], "model_args.layers.0.a.0._b"),
    ],
)
def test_what_libraries_keep_for_themselves_is_no_argument(
    desk: Desk, name: str, value: Any, where: str
) -> None:
    model_args = {"pretrained": str(desk.model), name: value}
    for settings in ({}, {"allow_unsafe_code": True}):
        assert "begins with _" in desk.faults(settings, model_args=model_args)[where]


def test_generation_takes_no_such_names_either(desk: Desk) -> None:
    assert desk.faults(gen_kwargs={"_eos_token_tensor": 1}).keys() == {"gen_kwargs._eos_token_tensor"}


def test_generation_may_not_load_code_either(desk: Desk) -> None:
    found = desk.faults(gen_kwargs={"custom_generate": "someone/code", "trust_remote_code": True})
    assert found.keys() == {"gen_kwargs.custom_generate", "gen_kwargs.trust_remote_code"}


def test_ordinary_arguments_are_none_of_that(desk: Desk) -> None:
    args = {"add_bos_token": True, "weights_only": True, "attn_implementation": "sdpa", "dtype": "float32"}
    assert desk.with_args(**args, trust_remote_code=False, prefix_token_id=1) == {}


def test_tasks_that_run_model_output_need_job_and_operator(desk: Desk) -> None:
    tasks = {"tasks": ["humaneval"]}
    assert "confirm_run_unsafe_code" in desk.faults(**tasks)["tasks"]
    assert "confirm_run_unsafe_code" in desk.faults({"allow_unsafe_code": True}, **tasks)["tasks"]
    confirmed = tasks | {"confirm_run_unsafe_code": True}
    assert "EVALQ_ALLOW_UNSAFE_CODE" in desk.faults(**confirmed)["confirm_run_unsafe_code"]
    assert desk.faults({"allow_unsafe_code": True}, **confirmed) == {}


def test_tasks_that_run_code_of_a_tokenizer_take_local_ones(desk: Desk) -> None:
    assert desk.faults(tasks=["niah_single_1"]) == {}
    hub = {"tasks": ["niah_single_1"], "metadata": {"tokenizer": "someone/tokenizer"}}
    assert "EVALQ_ALLOW_UNSAFE_CODE" in desk.faults(**hub)["tasks"]
    assert desk.faults({"allow_unsafe_code": True}, **hub) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"env": {"LD_PRELOAD": "/tmp/x.so"}},  # noqa: S108 - refused
        {"command": "LD_PRELOAD=/tmp/x.so lm_eval run --model hf --tasks ours"},
        {"command": "export LD_PRELOAD=/tmp/x.so && lm_eval run --model hf --tasks ours"},
    ],
)
def test_only_names_on_the_list_reach_an_engines_environment(desk: Desk, fields: dict[str, Any]) -> None:
    assert "allow-list" in desk.faults(**fields)["env.LD_PRELOAD"]
    taken = desk.submit(env={"NCCL_DEBUG": "INFO"})
    assert taken.engine.env == {"NCCL_DEBUG": "INFO"}


def test_a_folder_below_where_a_command_was_typed_is_left_out(desk: Desk) -> None:
    there = {"pretrained": str(desk.model), "parallelize": True}
    taken = desk.submit(model_args={**there, "offload_folder": "./offload"})
    assert "offload_folder" not in taken.engine.args
    assert "model_args.offload_folder is left out: a plan keeps the whole model in memory" in taken.notes
    assert "outside" in desk.with_args(offload_folder="/etc/offload")["model_args.offload_folder"]
