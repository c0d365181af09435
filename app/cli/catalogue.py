"""What there is: tasks, and GPU groups with what operators ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import click

from app.cli import completing
from app.cli.job_table import age
from app.cli.output import Output, columns, talks
from app.cli.several import ask_each
from app.client.calls import Api, Json
from app.domain.visible import one_line


@click.command(name="tasks")
@click.argument("search", required=False)
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, at most."
)
@talks
def tasks(api: Api, out: Output, search: str | None, limit: int) -> None:
    """List lm-eval's tasks, groups and tags whose name or dataset contains SEARCH; one of just that name in full."""
    found = list(api.pages("/v1/tasks", limit=limit, search=search))
    if search and not found:
        _in_full(api, search)  # names near ones
    named = [_in_full(api, t["name"]) for t in found[:1] if search and _same(search, t["name"])]
    others = found[len(named) :]
    if out.as_json:
        out.json([*named, *others])
    elif out.ids_only:
        _print(out, [task["name"] for task in found])
    else:
        _print(out, [line for task in named for line in _task_lines(task)])
        rows = [[t["name"], t["kind"], t.get("output_type") or "", _listed(t.get("tags"))] for t in others]
        for line in columns(("NAME", "KIND", "ASKS FOR", "TAGS"), rows) if rows else ():
            out.row(line)
    if len(found) == limit:
        out.say(f"the first {limit}; see more with -n, or narrow the search")


def _in_full(api: Api, name: str) -> Json:
    """What the service knows of one name; where there is none it says which are near."""
    found: Json = api.get(f"/v1/tasks/{quote(name, safe='')}")
    return found


def _same(search: str, name: str) -> bool:
    return search.strip().casefold() == name.casefold()


def _task_lines(task: Json) -> list[str]:
    dataset = [task.get("dataset_path"), task.get("dataset_name")]
    facts = {
        "kind": task["kind"],
        "asks for": task.get("output_type"),
        "few-shot": task.get("num_fewshot"),
        "dataset": " ".join(part for part in dataset if part),
        "tags": _listed(task.get("tags")),
        "file": task.get("path"),
        "about": " ".join((task.get("description") or "").split()),
        "tasks": _listed(task.get("children")),
    }
    shown = {name: fact for name, fact in facts.items() if fact not in {None, ""}}
    return [task["name"], *(f"  {name:<9} {fact}" for name, fact in shown.items())]


def _listed(names: Sequence[str] | None) -> str:
    return ", ".join(names or ())


@click.command(name="groups")
@talks
def groups(api: Api, out: Output) -> None:
    """Show the GPU groups, their devices and what is warm."""
    found = api.get("/v1/groups")["data"]
    _print_groups(out, found)
    if not found:
        out.say("no worker has reported yet; start one with `evalq worker --group NAME --devices 0,1`")


def _print_groups(out: Output, listed: Sequence[Json]) -> None:
    if out.as_json:
        out.json(listed)
    elif out.ids_only:
        _print(out, [group["name"] for group in listed])
    else:
        for group in listed:
            _print(out, _group_lines(group))


def _asks(verb: str, call: str, line: str) -> click.Command:
    """A verb for operators that is a call on each group."""

    @click.command(name=verb, help=line)
    @click.argument("names", metavar="GROUP...", nargs=-1, required=True, shell_complete=completing.groups)
    @talks
    def asking(api: Api, out: Output, names: Sequence[str]) -> None:
        def ask(name: str) -> Json:
            answer: Json = api.post(f"/v1/groups/{quote(name, safe='')}/{call}")
            return answer

        ask_each(names, ask, lambda answered: _print_groups(out, answered))

    return asking


drain = _asks("drain", "drain", "Let the replicas of groups finish their chunks, and give them no more work.")
undrain = _asks(
    "undrain", "resume", "Give groups work again; devices that were drained as broken are looked at."
)


def _group_lines(group: Json) -> list[str]:
    state = "draining" if group["draining"] else "alive" if group["alive"] else "silent"
    heard = f"heard of {age(group['heartbeat_at'])} ago"
    lines = [
        f"{group['name']} on {group['host']}: {state}, {heard}, backends {', '.join(group['backends']) or 'none'}"
    ]
    lines += [f"  backend {name} does not work: {why}" for name, why in _unusable(group).items()]
    lines += [f"  {device['index']}  {_device(device)}" for device in group["devices"]]
    for replica in group["replicas"]:
        kept = "warm" if replica["idle_since"] else replica["status"]
        model = replica["engine"]["model"] or "a model of another team"
        count = len(replica["devices"])
        lines.append(f"  {kept}: {model} on {count} device{'' if count == 1 else 's'}")
    return lines


def _unusable(group: Json) -> dict[str, str]:
    return dict(group.get("unusable_backends") or {})  # a service of an earlier version tells none


def _device(device: Json) -> str:
    parts = [device["name"], device["state"] + (f" ({device['reason']})" if device["reason"] else "")]
    if device["memory_bytes"]:
        used = (device["memory_used_bytes"] or 0) / 2**30
        parts.append(f"{used:.1f}/{device['memory_bytes'] / 2**30:.1f} GiB")
    if device["utilization_percent"] is not None:
        parts.append(f"{device['utilization_percent']:.0f} % busy")
    if device["temperature_celsius"] is not None:
        parts.append(f"{device['temperature_celsius']:.0f} °C")
    return "  ".join(parts)


def _print(out: Output, lines: list[str]) -> None:
    for line in lines:
        out.data(one_line(line))
