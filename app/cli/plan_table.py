"""A plan as a table for people: pure text from what a dry run says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.cli.output import columns
from app.client.calls import Json
from app.domain.visible import one_line

_MOST_TASKS = 10


def plan_lines(answer: Json) -> list[str]:
    """How a job would run, why, and what is done otherwise than its command says; nothing where there is no plan."""
    plan: Json | None = answer.get("plan")
    if plan is None:
        return []
    notes = answer.get("notes") or []
    why = [line for line in plan["explanation"] if line not in notes]
    rows = [*_width(plan), *_memory(plan), ("tasks", _tasks(answer.get("tasks") or []))]
    awaited = [error["message"] for error in answer.get("errors") or ()] if answer["valid"] else []
    lists = [
        ("why", why),
        ("differs", notes),
        ("waits for", awaited),
        ("ways out", list(map(_way_out, plan.get("ways_out") or ()))),
    ]
    rows += [(name if at == 0 else "", text) for name, texts in lists for at, text in enumerate(texts)]
    rows.append(("command", plan["command"]))
    return columns(("plan", one_line(plan["backend"])), [(name, text) for name, text in rows if text])


def _width(plan: Json) -> Iterator[tuple[str, str]]:
    gpus, replicas = plan["gpus_per_replica"], plan["replicas"]
    yield (
        "width",
        f"TP {plan['tensor_parallel_size']} x PP {plan['pipeline_parallel_size']}: {_gpus(gpus)} a replica",
    )
    if replicas == "auto":
        yield "replicas", "as many as are free and pay for their loading"
    else:
        world = replicas * gpus
        yield "replicas", f"{replicas}: world size {world}, ranks 0 to {world - 1}"
    yield "scoring", _SCORING.get(str(plan.get("scoring_mode")), "")
    yield "group", plan.get("group") or "any that has the backend"


_SCORING = {"fast": "fast: what requests of one context share is computed once"}


def _memory(plan: Json) -> Iterator[tuple[str, str]]:
    each, fit = plan.get("memory_per_gpu_gib"), plan.get("fit")
    told = [f"{each:.1f} GiB"] if each is not None else ["not known before it is loaded"]
    told += [_FITS[fit]] if fit in _FITS else []
    yield "memory a GPU", ": ".join(told)
    yield "memory by rule", _rule(plan.get("memory") or {})


_FITS = {"fits": "fits", "tight": "fits with little left", "no": "does not fit"}


def _rule(memory: Json) -> str:
    rule, source = memory.get("rule_gb"), memory.get("source")
    if rule is None:
        return ""
    return f"{rule:.1f} GB (parameters x bytes x 1.2 / GPUs)" + (f"; size from {source}" if source else "")


def _way_out(way: Json) -> str:
    change = ", ".join(f"{name} {value}" for name, value in way["change"].items())
    return f"{change}: {'fits' if way['fits'] else 'does not fit'}; {way['note']}"


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _tasks(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name) for name in names[:_MOST_TASKS])
    return shown if len(names) <= _MOST_TASKS else f"{shown} and {len(names) - _MOST_TASKS} more"
