"""lm-eval's result table, drawn here so that nobody waits for lm_eval to be imported."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from app.domain.visible import in_a_cell, one_line
from app.workloads.lm_eval.spec import LmEvalSpec

Json = dict[str, Any]

ARROWS = {True: "↑", False: "↓"}
RIGHT = {"Version", "n-shot", "Value", "Stderr"}
NOT_METRICS = {"alias", "name", "sample_len", "sample_count"}


@dataclass(frozen=True)
class Score:
    """One metric of one task or group; `depth` is its place below a group."""

    name: str
    label: str
    depth: int
    version: str
    filter: str
    n_shot: str
    metric: str
    higher_is_better: bool | None
    value: Any
    stderr: Any


def scores(document: Json, column: str = "results") -> list[Score]:
    """Every metric of lm-eval's result document, groups before their tasks."""
    places = _places(document.get("group_subtasks") or {}, set(document.get(column) or {}))
    return [score for name, depth in places for score in _scores_of(document, column, name, depth)]


def markdown(document: Json) -> str:
    """lm-eval's table, and the one of groups where there are any."""
    tables = [_table("Tasks", scores(document))]
    if document.get("groups"):
        tables.append(_table("Groups", scores(document, "groups")))
    return "\n\n".join(tables)


def headline(spec: LmEvalSpec, document: Json) -> str:
    """What lm-eval prints above its table (0.4.13, `lm_eval/_cli/run.py`)."""
    args = {name: value for name, value in spec.model_args.items() if name != "trust_remote_code"}
    sizes = (document.get("config") or {}).get("batch_sizes")
    line = (
        f"{spec.model} ({args}), gen_kwargs: ({dict(spec.gen_kwargs or {})}), limit: {spec.limit}, num_fewshot:"
        f" {spec.num_fewshot}, batch_size: {spec.batch_size}{f' ({sizes})' if sizes else ''}"
    )
    return one_line(line)


def comma_separated(document: Json, about: Mapping[str, str] | None = None) -> str:
    """A line per metric with full precision, under a header; what is told of all of them stands first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    own = ["task", "version", "filter", "n_shot", "metric", "higher_is_better", "value", "stderr"]
    writer.writerow([*(about or {}), *own])
    for score in scores(document):
        name, _, _, *rest = astuple(score)
        writer.writerow(map(in_a_cell, [*(about or {}).values(), name, *rest]))
    return text.getvalue().rstrip("\n")


def _places(children: dict[str, list[str]], names: set[str]) -> list[tuple[str, int]]:
    """Names in lm-eval's order with their depth: walk the groups from their roots, then what is in none."""
    ordered: dict[str, int] = {}

    def visit(name: str, depth: int) -> None:
        if name in ordered:
            return
        ordered[name] = depth
        for child in sorted(children.get(name, [])):
            visit(child, depth + 1)

    below = {child for group in children.values() for child in group}
    for name in sorted(set(children) - below):
        visit(name, 0)
    for name in sorted(names - set(ordered)):
        ordered[name] = 0
    return [(name, depth) for name, depth in ordered.items() if name in names]


def _scores_of(document: Json, column: str, name: str, depth: int) -> Iterator[Score]:
    entry = document[column][name]
    better = (document.get("higher_is_better") or {}).get(name) or {}
    for key in sorted(set(entry) - NOT_METRICS):
        metric, _, filtered = key.partition(",")
        if metric.endswith("_stderr"):
            continue
        yield Score(
            name=name,
            label=str(entry.get("alias", name)),
            depth=depth,
            version=str((document.get("versions") or {}).get(name, "N/A")),
            filter=filtered,
            n_shot=str((document.get("n-shot") or {}).get(name, "")),
            metric=metric,
            higher_is_better=better.get(metric),
            value=entry[key],
            stderr=entry.get(f"{metric}_stderr,{filtered}"),
        )


def _table(first: str, listed: list[Score]) -> str:
    header = [first, "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"]
    rows, last = [], ""
    for score in listed:
        rows.append(_row(score, repeated=score.name == last))
        last = score.name
    widths = [max(3, len(name), *(len(row[i]) for row in rows)) for i, name in enumerate(header)]
    rules = [
        f"{'-' * (width - 1)}{':' if name in RIGHT else '-'}"
        for name, width in zip(header, widths, strict=True)
    ]
    lines = [[f"{name:^{width}}" for name, width in zip(header, widths, strict=True)], rules]
    lines += [[_aligned(*cell) for cell in zip(row, header, widths, strict=True)] for row in rows]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines)


def _row(score: Score, *, repeated: bool) -> list[str]:
    label = f"{' ' * score.depth}- {score.label}" if score.depth else score.label
    arrow = "" if score.higher_is_better is None else ARROWS[score.higher_is_better]
    error = "" if score.stderr is None else _number(score.stderr)
    cells = [
        "" if repeated else label,
        "" if repeated else score.version.removesuffix(".0"),
        score.filter,
        score.n_shot,
        score.metric,
        arrow,
        _number(score.value),
        "±" if error else "",
        error,
    ]
    return [one_line(cell) for cell in cells]


def _aligned(text: str, name: str, width: int) -> str:
    return text.rjust(width) if name in RIGHT else text.ljust(width)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.4f}"
    return "" if value is None else str(value)
