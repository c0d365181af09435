"""What was vendored is what was published, and nothing else lies beside it."""

from __future__ import annotations

import gzip
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

ROOM = Path(str(files("app.dashboard")))
VENDOR = ROOM / "static/vendor"
LIST: list[dict[str, Any]] = json.loads((ROOM / "vendored.json").read_text())


@pytest.mark.parametrize("package", LIST, ids=lambda package: str(package["name"]))
def test_each_vendored_file_is_the_one_in_the_list(package: dict[str, Any]) -> None:
    assert package.keys() == {"name", "version", "licence", "source", "files"}
    for path, digest in package["files"].items():
        assert package["version"] in path
        assert hashlib.sha256((VENDOR / path).read_bytes()).hexdigest() == digest, path
    assert any("LICENSE" in path for path in package["files"])


def test_no_vendored_file_is_missing_in_the_list() -> None:
    listed = {path for package in LIST for path in package["files"]}
    assert {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()} == listed


def test_scripts_of_a_page_are_small() -> None:
    scripts = [
        path
        for path in (ROOM / "static").rglob("*.js")
        if "swagger" not in str(path) and path.name != "docs.js"
    ]
    assert len(scripts) >= 4
    assert sum(len(gzip.compress(path.read_bytes())) for path in scripts) <= 45_000
