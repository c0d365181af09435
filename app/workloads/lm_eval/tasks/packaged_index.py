"""The stored index of lm-eval's own tasks: made once per lm-eval version, loaded in milliseconds.

`python -m app.workloads.lm_eval.tasks.build_index` writes it; a test proves it equal to what lm-eval finds itself.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from app.workloads.lm_eval.tasks.task_yaml import IndexEntry

INDEX_FILE = Path(__file__).with_name("lm_eval_tasks.json.gz")

_DATASET_PATH = 6
"""The column of a row that holds `dataset_path`."""


@dataclass(frozen=True)
class PackagedIndex:
    """lm-eval's tasks by name, as rows; a row becomes an entry when it is asked for."""

    lm_eval_version: str
    rows: Mapping[str, list[Any]]

    def entry(self, name: str, tasks_dir: Path) -> IndexEntry | None:
        """One entry with its path under `tasks_dir`."""
        row = self.rows.get(name)
        if row is None:
            return None
        kind, path, tags, children, *rest = row
        absolute = None if path is None else tasks_dir / path
        children = tags if kind == "tag" else children  # the members of a tag are stored once
        return IndexEntry(name, kind, absolute, tuple(tags or ()), tuple(children or ()), *rest)

    def dataset_path(self, name: str) -> str:
        """The dataset of a task, empty where it has none; cheaper than its whole entry."""
        row = self.rows.get(name, ())
        return (row[_DATASET_PATH] or "") if len(row) > _DATASET_PATH else ""


@cache
def installed_tasks_dir() -> Path:
    """Where the installed lm_eval keeps its tasks; imports nothing of it."""
    return Path(str(distribution("lm_eval").locate_file("lm_eval/tasks")))


@cache
def load_packaged() -> PackagedIndex:
    """Read the stored index; once per process."""
    document = json.loads(gzip.decompress(INDEX_FILE.read_bytes()))
    return PackagedIndex(document["lm_eval"], document["entries"])


def packed(entries: Mapping[str, IndexEntry], tasks_dir: Path, lm_eval_version: str) -> bytes:
    """The stored form: the same bytes for the same entries."""
    rows = {name: _row(entry, tasks_dir) for name, entry in sorted(entries.items())}
    text = json.dumps(
        {"lm_eval": lm_eval_version, "entries": rows}, separators=(",", ":"), ensure_ascii=False
    )
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _row(entry: IndexEntry, tasks_dir: Path) -> list[Any]:
    _, kind, path, tags, children, *rest = astuple(entry)
    relative = None if path is None else path.relative_to(tasks_dir).as_posix()
    row = [kind, relative, list(tags) or None, (list(children) or None) if kind == "group" else None, *rest]
    while len(row) > 4 and row[-1] in (None, False):
        row.pop()
    return row
