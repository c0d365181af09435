"""One account passes through a private folder, and no other does."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import LocalStartError
from app.single_host.folder_access import _NAME, let_through
from app.single_host.processes import Account, run_as

GUEST, STRANGER = Account(54321, 54321), Account(54322, 54322)


@pytest.fixture
def private() -> Iterator[Path]:
    """A folder for its owner only, with a file that everybody may read."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_text("x")
        file.chmod(0o644)
        yield Path(folder)


def succeeds(account: Account, *command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False, **run_as(account)).returncode == 0


def test_the_folder_stays_closed_to_all_others(private: Path) -> None:
    assert let_through(private, GUEST)
    assert private.stat().st_mode & 0o007 == 0
    assert private.stat().st_mode & 0o060 == 0
    if os.geteuid() == 0:  # only root can be somebody else
        assert succeeds(GUEST, "cat", private / "file")
        assert not succeeds(GUEST, "ls", private)
        assert not succeeds(STRANGER, "cat", private / "file")


def test_it_is_done_once(private: Path) -> None:
    assert let_through(private, GUEST)
    before = os.getxattr(private, _NAME)
    assert not let_through(private, GUEST)
    assert os.getxattr(private, _NAME) == before


def test_those_who_were_let_through_before_still_are(private: Path) -> None:
    assert let_through(private, STRANGER)
    assert let_through(private, GUEST)
    assert not let_through(private, STRANGER)


def test_a_folder_that_is_open_is_left_alone(private: Path) -> None:
    private.chmod(0o711)
    assert not let_through(private, GUEST)
    assert _NAME not in os.listxattr(private)


def test_where_there_are_no_access_lists_every_account_may_pass(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    assert (let_through(private, GUEST) or "").startswith("every account")
    assert private.stat().st_mode & 0o007 == 1
    assert let_through(private, GUEST) is None


def test_a_folder_that_cannot_be_opened_is_named_with_the_way_out(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(LocalStartError, match=r"Read-only file system\): start evalq as an ordinary user"):
        let_through(private, GUEST)
