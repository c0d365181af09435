from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.errors import LocalStartError
from app.single_host.data_directory import locked, socket_folder


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    holder = rf"in use by another `evalq up` \(process {os.getpid()}\)"
    with locked(tmp_path / "data"), pytest.raises(LocalStartError, match=holder), locked(tmp_path / "data"):
        pass
    with locked(tmp_path / "data"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"cannot write to the data directory .*/file/data: Not a directory"
    with pytest.raises(LocalStartError, match=message), locked(tmp_path / "file" / "data"):
        pass


def test_logs_are_private(tmp_path: Path) -> None:
    with locked(tmp_path / "data") as data:
        assert (data / "logs").stat().st_mode & 0o077 == 0


def test_sockets_of_a_long_path_have_a_short_one(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    with socket_folder(deep) as folder:
        assert len(str(folder)) < 60
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
