from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.settings import Settings
from tests.e2e.stack import Stack, settings
from tests.faults.model import make_model
from tests.integrators.generators import NotThereError, Programs, node_programs, python_programs
from tests.servers import Postgres
from tests.tiny_models import tiny_llama

README_MODEL = Path(".cache") / "evalq" / "models" / "smollm2-135m-instruct"
EXAMPLES = Path(__file__).parents[2] / "examples" / "tasks"


@dataclass(frozen=True)
class Live:
    """A running service, a model that its echo engine takes, and a home with the model of the README."""

    stack: Stack
    url: str
    model: Path
    home: Path


@pytest.fixture(scope="package")
def live(postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    model, home = make_model(folder / "models" / "tiny"), folder / "home"
    (home / README_MODEL).parent.mkdir(parents=True)
    (home / README_MODEL).symlink_to(tiny_llama(Settings().cache_dir))
    roots = f"{model.parent}:{home}:{Settings().cache_dir / 'models'}"
    with postgres.database() as database_url:
        env = settings(database_url, redis_url, folder, model.parent)
        env |= {"EVALQ_MODEL_PATHS": roots, "EVALQ_TASK_PATHS": f"{env['EVALQ_TASK_PATHS']}:{EXAMPLES}"}
        with Stack(env, folder) as stack:
            yield Live(stack, str(stack.http.base_url).removesuffix("/v1/"), model, home)


@pytest.fixture(scope="package")
def document(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document as it is served, in a file."""
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_text(live.stack.http.get(f"{live.url}/openapi.json").text)
    return file


@pytest.fixture(scope="package")
def python_tools() -> Programs:
    return python_programs(Settings().cache_dir)


@pytest.fixture(scope="package")
def node_tools() -> Programs:
    try:
        return node_programs(Settings().cache_dir)
    except NotThereError as error:
        pytest.skip(f"not run, for want of Node: {error}")
