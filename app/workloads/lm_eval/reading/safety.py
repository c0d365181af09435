"""What a posted job may not bring along: credentials, code, and paths outside the operator's folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from app.arguments.kinds import shown
from app.domain.redaction import secrets_in
from app.domain.visible import one_line
from app.errors import MOST_FAULTS, FaultyField
from app.models.hub_names import is_hub_name
from app.models.model_folder import is_local, within
from app.settings import Settings
from app.workloads.lm_eval.reading.fields import SWITCHED_OFF, FieldReader
from app.workloads.lm_eval.spec import MOST_LINE

RUNS_CODE = frozenset(
    {
        "allow_all_kernels",
        "auto_map",
        "custom_generate",
        "ec_connector_module_path",
        "inductor_passes",
        "io_processor_plugin",
        "kernel_config",
        "kv_connector_module_path",
        "log_config_file",
        "logging_config",
        "logits_processors",
        "model_class_overrides",
        "pickle_module",
        "reasoning_parser_plugin",
        "scheduler_cls",
        "tool_parser_plugin",
        "trust_remote_code",
        "use_kernels",
        "worker_cls",
        "worker_extension_cls",
    }
)
"""Arguments by which a backend imports, downloads or unpickles code that a user names."""
NO_CREDENTIALS = (
    "credentials are never taken from a job: the operator gives them to the workers (EVALQ_CHILD_ENV)"
)
MOST_PATHS = 100
MOST_PATH = 4096
"""Characters of a path, as in Linux."""
MODEL_NAMES = ("pretrained", "path", "load")
BELOW_MODEL = ("subfolder", "gguf_file")
"""Names below the model, whatever they look like; `EngineReader` follows them there."""
OTHER_MODELS = ("tokenizer", "peft", "delta", "lora_local_path", "hf_config_path", "model_weights")
NEVER_OPENED = ("revision", "tokenizer_revision", "code_revision", "chat_template_args", "download_dir")
"""Names in a model's repository, what only its template reads, and a folder that no engine is given."""
READ_AS_MODEL = ("tokenizer", "pretrained", "model")
"""What tasks that size their own prompts take a tokenizer from."""
SCRATCH = "offload_folder"
_LEADS_AWAY = re.compile(r"[/~]|\.\.?(/|$)|.*/\.\.(/|$)")


def refuse_unsafe(reader: FieldReader, settings: Settings) -> None:
    """Faults for all of it; paths that may stay are made absolute, with symbolic links followed."""
    _refuse_credentials(reader)
    if not settings.allow_unsafe_code:
        spec = reader.spec
        named = {"model_args": spec.model_args, "gen_kwargs": spec.gen_kwargs, "metadata": spec.metadata}
        for field, values in named.items():
            for path in islice(_code_in(values, field), MOST_FAULTS):
                reader.fault(path, SWITCHED_OFF)
    _leave_out_scratch(reader)
    _keep_inside(reader, settings)


def _leave_out_scratch(reader: FieldReader) -> None:
    """A folder for what memory does not hold, below where a command was typed: nothing of an engine is there."""
    args = dict(reader.spec.model_args)
    if isinstance(folder := args.get(SCRATCH), str) and not Path(folder).is_absolute():
        del args[SCRATCH]
        reader.put(model_args=args)
        reader.notes.append(f"model_args.{SCRATCH} is left out: a plan keeps the whole model in memory")


def _keep_inside(reader: FieldReader, settings: Settings) -> None:
    args = {
        name: value
        if name in (*MODEL_NAMES, *BELOW_MODEL, *NEVER_OPENED)
        else _inside(value, f"model_args.{name}", reader, settings)
        for name, value in reader.spec.model_args.items()
    }
    reader.put(model_args=args)
    for name in OTHER_MODELS:
        if isinstance(value := args.get(name), str) and not (_is_path(value) or is_hub_name(value)):
            message = f"{shown(value)} is neither `owner/name` on the hub nor a folder (/..., ./...)"
            reader.fault(f"model_args.{name}", message)
    if (metadata := reader.spec.metadata) is not None:
        kept = {
            name: _inside(value, f"metadata.{name}", reader, settings, _path_rule(name))
            for name, value in metadata.items()
        }
        reader.put(metadata=kept)


def _path_rule(name: str) -> Callable[[str], bool]:
    return _is_path if name in READ_AS_MODEL else _leads_away


def inside(path: str, settings: Settings) -> Path | None:
    """Where a path leads, if that is in the operator's model folders.

    It is resolved once: what is judged is what is stored, and what engine and harness open.
    """
    if len(path) > MOST_PATH:
        return None
    try:
        resolved = Path(path).expanduser().resolve()
    except (OSError, RuntimeError):  # a loop of links, an unknown home
        return None
    return resolved if settings.any_model_path or within(resolved, settings.model_paths) else None


def change_faults(fields: Mapping[str, Any]) -> list[FaultyField]:
    """What may not be made of a job's name and tags afterwards either."""
    lines = [
        ("name", fields.get("name", "")),
        *((f"tags.{i}", tag) for i, tag in enumerate(fields.get("tags", ()))),
    ]
    wrong = [FaultyField(path, message) for path, text in lines if (message := line_fault(text))]
    return wrong + [FaultyField(path, NO_CREDENTIALS) for path in islice(secrets_in(fields, ""), MOST_FAULTS)]


def line_fault(text: str) -> str | None:
    """What is wrong with a text that is one line wherever it is shown, terminals included."""
    if len(text) > MOST_LINE:
        return f"has at most {MOST_LINE} characters"
    return None if one_line(text) == text else "must be one line without control characters"


def _refuse_credentials(reader: FieldReader) -> None:
    for path in islice(secrets_in(reader.spec.to_json(), ""), MOST_FAULTS):
        reader.fault(path, NO_CREDENTIALS)


def _code_in(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if _runs_code(name, item):
                yield f"{path}.{name}"
            else:
                yield from _code_in(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _code_in(item, f"{path}.{index}")


def _runs_code(name: str, value: Any) -> bool:
    match name:
        case "weights_only":
            return not value
        case _ if str(name).endswith("_implementation"):  # of attention, of experts: a kernel from the hub
            return "/" in str(value)
        case _:
            return name in RUNS_CODE and bool(value) and value != "auto"


def _is_path(value: str) -> bool:
    return is_local(value) or "://" in value


def _leads_away(value: str) -> bool:
    """Whether a text that a task may read as it likes leads out of the empty folder that it is read in."""
    return _LEADS_AWAY.match(value) is not None or "://" in value


def _inside(
    value: Any,
    path: str,
    reader: FieldReader,
    settings: Settings,
    is_path: Callable[[str], bool] = _is_path,
) -> Any:
    """The value with every path in it resolved, whatever scheme stands before; faults for those that lead elsewhere."""
    if isinstance(value, dict):
        return {
            name: _inside(item, f"{path}.{name}", reader, settings, is_path) for name, item in value.items()
        }
    if isinstance(value, list):
        return [_inside(item, f"{path}.{i}", reader, settings, is_path) for i, item in enumerate(value)]
    if not isinstance(value, str) or not is_path(value):
        return value
    reader.paths += 1
    if reader.paths > MOST_PATHS:  # each is looked up in the file system
        reader.refuse_unless(
            reader.paths > MOST_PATHS + 1, path, f"is a path too many: a job has {MOST_PATHS}"
        )
        return value
    _, scheme, named = value.rpartition("://")
    resolved = None if scheme and not named.startswith("/") else inside(named, settings)
    if resolved is None:
        refuse_path(reader, path, value, settings)
        return value
    return str(resolved)


def refuse_path(reader: FieldReader, path: str, value: str, settings: Settings) -> None:
    """The fault of a path that leads outside; it does not tell what is there."""
    allowed = tuple(str(root) for root in settings.model_paths)
    reader.fault(path, f"{shown(value)} is outside the operator's model folders (EVALQ_MODEL_PATHS)", allowed)
