"""What import-linter cannot say: who lives on the standard library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = "app.workloads.lm_eval.spec"
ENGINE_PROTOCOL = ("channel", "engine", "frames", "log_lines", "messages", "payload")


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def outsiders(path: str, *allowed: str) -> set[str]:
    """The names imported below `path` that are neither of the standard library nor below an allowed one."""
    source = ROOT / path
    files = [source] if source.is_file() else list(source.rglob("*.py"))
    assert files
    names = {name for file in files for name in imported(file)}
    ours = {name for name in names if any(f"{name}.".startswith(f"{ok}.") for ok in allowed)}
    return {name for name in names - ours if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("app/errors.py", ()),
        ("app/domain", ("app.domain", "app.errors")),
        ("workers/protocol", ("workers.protocol", "msgpack", SPEC)),
        ("app/workloads/lm_eval/spec.py", ()),  # what a harness child imports of app
        (
            "workers/supervision/shim.py",
            ("workers.containment.bounds", "workers.containment.shared_memory"),
        ),  # for its types; it runs the files by their paths
        ("workers/containment/bounds.py", ()),
        ("workers/containment/shared_memory.py", ()),
    ],
)
def test_it_needs_only_the_standard_library(path: str, allowed: tuple[str, ...]) -> None:
    assert outsiders(path, *allowed) == set()


def test_children_import_a_job_spec_of_app_and_nothing_on_the_way() -> None:
    room = ROOT / "workers"
    files = {file for part in ("protocol", "harness_child") for file in (room / part).rglob("*.py")}
    of_app = {name for file in files for name in imported(file) if name.split(".")[0] == "app"}
    assert of_app == {SPEC}
    packages = [ROOT.joinpath(*SPEC.split(".")[:depth]) / "__init__.py" for depth in (1, 2, 3)]
    assert [list(imported(package)) for package in packages] == [[], [], []]


def test_an_engine_child_knows_nothing_of_a_job() -> None:
    speaks = [ROOT / "workers" / "protocol" / f"{name}.py" for name in ENGINE_PROTOCOL]
    files = [*(ROOT / "workers" / "engine_child").rglob("*.py"), *speaks]
    known = {
        name for file in files for name in imported(file) if name.startswith(("workers.protocol.", "app"))
    }
    assert known == {f"workers.protocol.{name}" for name in ENGINE_PROTOCOL}


def test_an_engine_child_needs_only_its_backend() -> None:
    ours = ("workers.engine_child", "workers.protocol", "workers.containment", "msgpack")
    backend = ("torch", "transformers", "accelerate", "lm_eval", "vllm")
    assert outsiders("workers/engine_child", *ours, *backend) == set()


def of_sqlalchemy(file: Path) -> Iterator[str]:
    """What the file imports of SQLAlchemy, by its full name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "sqlalchemy")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sqlalchemy":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_of_sqlalchemy_only_the_session_is_known_outside_db() -> None:
    files = [file for room in ("app", "workers") for file in (ROOT / room).rglob("*.py")]
    outside = [file for file in files if not file.is_relative_to(ROOT / "app" / "db")]
    named = {(str(file.relative_to(ROOT)), name) for file in outside for name in of_sqlalchemy(file)}
    assert {file for file, name in named if name != "sqlalchemy.orm.Session"} == set()
    assert named, "the services name it"


def test_what_pages_and_endpoints_share_is_neither_json_nor_html() -> None:
    """A cursor is JSON inside, which nobody sees; what is sent has its form from who answers."""
    names = {
        alias.name
        for file in (ROOT / "app" / "web").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {"StreamingResponse", "Request"} <= names
    assert names & {"JSONResponse", "HTMLResponse", "PlainTextResponse", "BaseModel", "jinja2"} == set()
