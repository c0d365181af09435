from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from workers.containment import own_folder
from workers.containment.own_folder import OwnFolder


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders are made, all of them old enough to be left ones."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(own_folder, "SETTLED_SECONDS", -1.0)
    return tmp_path


def test_a_folder_is_empty_and_goes_with_all_that_is_in_it() -> None:
    folder = OwnFolder()
    assert list(folder.path.iterdir()) == list(folder.temporary.iterdir()) == []
    for part in (folder.path, folder.temporary):
        (part / "some" / "where").mkdir(parents=True)
    for _ in range(2):
        folder.remove()
        assert not folder.root.exists()


def test_what_killed_processes_left_goes_with_the_next_one(room: Path) -> None:
    held, left = OwnFolder(), room / f"{own_folder.PREFIX}left"
    (left / "deep").mkdir(parents=True)
    OwnFolder().remove()
    assert held.path.exists()
    assert not left.exists()


def test_what_only_bears_the_name_is_left_alone(room: Path) -> None:
    (room / "precious").mkdir()
    (room / f"{own_folder.PREFIX}link").symlink_to(room / "precious")
    (room / f"{own_folder.PREFIX}file").touch()
    OwnFolder().remove()
    assert sorted(path.name for path in room.iterdir()) == [
        "evalq-child-file",
        "evalq-child-link",
        "precious",
    ]
