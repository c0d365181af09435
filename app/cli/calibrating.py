"""`evalq backends calibrate`: what is asked for is settled here, and measured by `workers.tolerance`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.output import Output, talks
from app.cli.terminal import CliError
from app.client.calls import Api, Json
from app.client.exit_codes import CallError

if TYPE_CHECKING:
    from app.backends import Backend
    from app.backends.parallelism import Parallelism
    from app.domain.model_facts import ModelFacts

LENGTH = 2048
"""Tokens: what is asked is shorter, and a longer window would take memory for nothing."""


@click.command(name="calibrate")
@click.argument("name")
@click.argument("model")
@click.option("--dtype", metavar="TYPE", help="What to compute in, as jobs will: bfloat16, float16, float32.")
@click.option("--revision", metavar="TEXT", help="The model's, on the hub.")
@click.option(
    "--model-args", default="", metavar="ARGS", help="More of the engine's arguments, as in a job: a=1,b=2."
)
@click.option("--devices", metavar="DEVICES", help="A block for one engine: 0, 0,1, a UUID, cpu:1.")
@click.option(
    "--documents", type=click.IntRange(4, 10_000), default=200, show_default=True, help="How many to ask."
)
@click.option("--accept", is_flag=True, help="Let scoring_mode auto be fast by it, however far fast is off.")
@talks
def calibrate_backend(
    api: Api,
    out: Output,
    *,
    name: str,
    model: str,
    dtype: str | None,
    revision: str | None,
    model_args: str,
    devices: str | None,
    documents: int,
    accept: bool,
) -> None:
    """Measure on this host how far fast scoring is from stock, with backend NAME and a MODEL of yours.

    Where it is near enough, jobs with scoring_mode auto are scored fast on devices of this kind, in this dtype and
    with these versions. The devices must be free: drain their group before, and give it work again afterwards.
    """
    backend = _backend(name)
    found = _read(backend, model_args, dtype)
    owned = _devices(backend, devices, found.tensor_parallel_size * found.pipeline_parallel_size)
    if "cuda" in backend.devices:  # slots of a CPU are nobody's own
        _refuse_held(api, out, owned)
    order = _order(backend, model, revision, found)
    order |= {"devices": ",".join(owned), "documents": documents, "accept": accept}
    words = ["-P", "-m", "workers.tolerance", json.dumps(order), *(["json"] if out.as_json else [])]
    env = os.environ | {"TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}
    os.execve(sys.executable, [sys.executable, *words], env)  # noqa: S606 - an argument list, no shell


def held(groups: Sequence[Json], devices: Collection[str]) -> str | None:
    """What keeps these devices from being measured on, in words; GPUs have a name of their own on every host."""
    for group in groups:
        there = [device for device in group["devices"] if device["id"] in devices]
        if not there or not group["alive"]:
            continue
        if not group["draining"]:
            return f"group {group['name']} may get work for them: first `evalq drain {group['name']}`"
        if any(device["state"] == "held" for device in there):
            return f"a replica of group {group['name']}, which is draining, still holds them: wait for it"
    return None


def _refuse_held(api: Api, out: Output, devices: Sequence[str]) -> None:
    try:
        groups = api.get("/v1/groups")["data"]
    except CallError as error:
        out.say(f"whether a worker may get work for these devices is not known ({error}): drain its group")
        return
    if why := held(groups, devices):
        raise CliError(f"{', '.join(devices)}: {why}")


def _backend(name: str) -> Backend:
    from app.backends import BACKENDS

    measured = [each.name for each in BACKENDS.values() if each.apart]
    if name not in measured:
        raise click.UsageError(f"nothing hangs on it for {name!r}, but for these: {', '.join(measured)}")
    return BACKENDS[name]


def _read(backend: Backend, model_args: str, dtype: str | None) -> Parallelism:
    from app.arguments.syntax import parse_model_args
    from app.backends.registry import read_parallelism

    given = parse_model_args(model_args)
    args = given.values | ({"dtype": dtype} if dtype else {})
    own = {backend.model_argument: "MODEL", "revision": "--revision"}
    faults = [f"model_args.{name}: say it as {word}" for name, word in own.items() if name in args]
    found = read_parallelism(backend.name, args)
    faults += [f"{fault.path}: {fault.message}" for fault in (*given.faults, *found.faults)]
    if faults:
        raise click.UsageError("; ".join(faults))
    return found


def _devices(backend: Backend, text: str | None, width: int) -> list[str]:
    """As a worker names its own: GPUs by UUID, the ones with most memory free where none are named."""
    from app.gpus.naming import parse_devices
    from app.gpus.nvml import discover

    on_cpu = "cuda" not in backend.devices
    if text is None and on_cpu:
        return [f"cpu:{width}"]
    try:
        owned = parse_devices(text or "all")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if on_cpu is any(device.gpu for device in owned):
        raise click.UsageError(f"{backend.name} runs on {' and '.join(sorted(backend.devices))} devices")
    if text is None:
        idle = sorted(discover(), key=lambda gpu: gpu.memory_used_bytes)
        owned = [device for gpu in idle[:width] for device in owned if device.name == gpu.uuid]
    if len(owned) != width:
        raise click.UsageError(f"one engine takes {width} of these devices, not {len(owned)}: say --devices")
    return [text or ""] if on_cpu else [device.name for device in owned]


def _order(backend: Backend, model: str, revision: str | None, found: Parallelism) -> dict[str, Any]:
    from app.backends.backend import Loading
    from app.backends.scoring import ScoringCase
    from app.models.model_folder import is_local

    if is_local(model):
        model = str(Path(model).expanduser().resolve())
    args, facts = dict(found.engine_args), _facts(model, revision)
    if facts and facts.max_positions and not {"max_length", "max_model_len"} & args.keys():
        args["max_model_len"] = min(facts.max_positions, LENGTH)
    settled, _ = backend.settle(Loading(args, "auto", facts=facts))
    if backend.apart and (odd := backend.apart(ScoringCase("auto", settled, facts=facts))):
        raise click.UsageError(f"scoring_mode auto goes by nothing that is measured with {', '.join(odd)}")
    return {
        "backend": backend.name,
        "model": model,
        "revision": revision,
        "args": settled,
        "tensor_parallel_size": found.tensor_parallel_size,
        "pipeline_parallel_size": found.pipeline_parallel_size,
    }


def _facts(model: str, revision: str | None) -> ModelFacts | None:
    """What the model's files say, or the hub's copy of them on this host. UsageError for a folder that is at fault."""
    from app.models.hub_copies import copied_facts
    from app.models.hub_names import is_hub_name
    from app.models.model_folder import inspect_model, is_local
    from app.settings import current

    if not is_local(model):
        if not is_hub_name(model):
            raise click.UsageError(f"{model!r} is neither `owner/name` on the hub nor a model folder")
        return copied_facts(current().hub_home, model, revision)
    facts = inspect_model(model, "MODEL")
    if facts.faults:
        raise click.UsageError("; ".join(f"{fault.path}: {fault.message}" for fault in facts.faults))
    return facts
