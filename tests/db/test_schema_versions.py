"""An upgrade with running workers of the version before: who may use which schema, and who is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text

from app.db.schema import breaking, check_revision, newest_revision, others_connected, usable_by
from app.db.session import alembic_config, make_sessions, scripts_of
from app.domain.failure import Failure, FailureCode
from app.domain.job import JobStatus
from app.errors import BreakingMigrationError, OldSchemaError
from app.settings import Settings
from app.single_host import schema
from tests.world import World

REVISION = """
from alembic import op
revision, down_revision = "{name}", "{below}"
additive = {additive}

def upgrade():
    op.execute("CREATE TABLE made_by_{name} ()")

def downgrade():
    op.execute("DROP TABLE made_by_{name}")
"""

Newer = Callable[..., Config]


@pytest.fixture
def head(settings: Settings) -> str:
    """The newest revision of the code as it is: the version before, in these tests."""
    return str(scripts_of(settings).get_current_head())


@pytest.fixture
def newer(settings: Settings, head: str, tmp_path: Path) -> Newer:
    """The migrations of a version to come: one made-up revision after the other, additive or not."""

    def make(*additive: bool) -> Config:
        below = head
        for number, adds in enumerate(additive, 1):
            text = REVISION.format(name=f"next{number}", below=below, additive=adds)
            (tmp_path / f"next{number}.py").write_text(text)
            below = f"next{number}"
        config = alembic_config(settings)
        config.set_main_option("path_separator", "os")
        own = Path(str(config.get_main_option("script_location"))) / "versions"
        config.set_main_option("version_locations", f"{own}:{tmp_path}")
        return config

    return make


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = create_engine(settings.sqlalchemy_url)
    yield made
    made.dispose()


def check(engine: Engine, scripts: ScriptDirectory) -> None:
    with engine.connect() as connection:
        check_revision(connection, scripts)


def test_the_newest_revision_is_read_as_alembic_does(head: str) -> None:
    assert newest_revision() == head


def test_old_code_goes_on_after_a_migration_that_only_adds(
    settings: Settings, engine: Engine, newer: Newer
) -> None:
    command.upgrade(newer(True, True), "head")
    check(engine, scripts_of(settings))


def test_old_code_refuses_a_schema_that_is_not_its_own_any_more(
    settings: Settings, engine: Engine, newer: Newer
) -> None:
    command.upgrade(newer(True, False, True), "head")
    with pytest.raises(OldSchemaError, match="a newer evalq has migrated this database to schema next3"):
        check(engine, scripts_of(settings))


def test_new_code_refuses_the_schema_of_the_version_before(engine: Engine, newer: Newer) -> None:
    with pytest.raises(OldSchemaError, match="this version needs next1: run `evalq migrate`"):
        check(engine, ScriptDirectory.from_config(newer(True)))


def test_a_migration_taken_back_is_the_version_before_again(
    settings: Settings, engine: Engine, newer: Newer
) -> None:
    config = newer(True)
    command.upgrade(config, "head")
    command.downgrade(config, "-1")
    check(engine, scripts_of(settings))
    with pytest.raises(OldSchemaError):
        check(engine, ScriptDirectory.from_config(config))


def test_who_may_use_a_schema_follows_from_what_only_added(newer: Newer, head: str) -> None:
    usable = usable_by(ScriptDirectory.from_config(newer(True, True)), "next2")
    assert usable[:3] == ["next2", "next1", head]
    assert usable_by(ScriptDirectory.from_config(newer(False, True)), "next2") == ["next2", "next1"]
    assert usable_by(ScriptDirectory.from_config(newer(True, False)), "next2") == ["next2"]


def test_what_breaks_is_told_before_it_is_done(engine: Engine, newer: Newer) -> None:
    with engine.connect() as connection:
        assert breaking(connection, ScriptDirectory.from_config(newer(True, True))) == []
        assert breaking(connection, ScriptDirectory.from_config(newer(True, False))) == ["next2"]


def test_connections_of_running_processes_are_seen(settings: Settings, engine: Engine) -> None:
    sessions = make_sessions(settings)
    with engine.connect() as connection:
        assert others_connected(connection) == 0
    with sessions() as session, engine.connect() as connection:
        session.connection()
        assert others_connected(connection) == 1
    sessions.close()


def test_migrate_refuses_to_break_what_runs(
    settings: Settings, engine: Engine, newer: Newer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = newer(False)
    for module in ("app.db.session", "app.single_host.schema"):
        monkeypatch.setattr(f"{module}.alembic_config", lambda _: config)
    monkeypatch.setattr("app.db.session.newest_revision", lambda: "next1")
    running = make_sessions(settings)
    with running() as session:
        session.connection()
        with pytest.raises(BreakingMigrationError, match="migration next1 would break the evalq processes"):
            schema.migrate(settings)
        assert schema.migrate(settings, force=True)
    running.close()
    assert not schema.migrate(settings)


def test_tasks_that_the_version_before_left_open_are_closed(settings: Settings, world: World) -> None:
    cancelled, failed, running = world.running(), world.running(), world.running()
    world.coordination.stop(cancelled, JobStatus.CANCELLED, "cancelled")
    world.coordination.fail(failed, Failure(FailureCode.STALLED, "it hangs"))
    config = alembic_config(settings)
    command.downgrade(config, "f41c7d0e92ab")
    with world.sessions.begin() as session:
        session.execute(text("UPDATE job_tasks SET status = 'running', error = NULL"))
    command.upgrade(config, "head")
    tasks = [world.jobs.view(lease.id).job.tasks[0] for lease in (cancelled, failed, running)]
    assert [task.error and task.error.code for task in tasks] == ["cancelled", "stalled", None]
    assert [task.status for task in tasks] == ["failed", "failed", "running"]
