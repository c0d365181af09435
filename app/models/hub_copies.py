"""Models of the hub that this host fetched before, where huggingface_hub keeps them: known without asking anybody."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from app.domain.model_facts import ModelFacts
from app.models.hub_facts import hub_facts
from app.models.json_file import NoJsonObjectError, read_object
from app.models.model_folder import inspect_model, within

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_LETTERS = 100


def copied_facts(home: Path, name: str, revision: str | None) -> ModelFacts | None:
    """Of the copy below `HF_HOME`: by its weights where all are there, else by its configuration; None without one."""
    source = "the copy of the hub's model on this host"
    try:
        folder = _snapshot(home / "hub" / f"models--{name.replace('/', '--')}", revision or "main")
        if folder is None:
            return None
        facts = inspect_model(folder)
        if not facts.faults:
            return replace(facts, path=None, source=source)
        return hub_facts(name, {}, read_object(folder / "config.json"), source)
    except (OSError, NoJsonObjectError, ValueError, RuntimeError):  # no name of a file, a loop of links
        return None


def _snapshot(folder: Path, revision: str) -> Path | None:
    """Where files of a branch, a tag or a commit lie."""
    reference = folder / "refs" / revision
    if _COMMIT.fullmatch(revision):
        commit = revision
    elif within(reference, [folder / "refs"]) and reference.is_file():
        with reference.open(encoding="ascii") as file:
            commit = file.read(_MOST_LETTERS).strip()
    else:
        return None
    found = folder / "snapshots" / commit
    return found if _COMMIT.fullmatch(commit) and found.is_dir() else None
