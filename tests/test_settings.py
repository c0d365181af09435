from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings


def test_folders_are_named_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALQ_CACHE", "cache")
    monkeypatch.setenv("EVALQ_DATA_DIR", "./data")
    monkeypatch.setenv("EVALQ_TASK_PATHS", "tasks")
    settings = Settings()
    assert (settings.cache_dir, settings.data_dir) == (tmp_path / "cache", tmp_path / "data")
    assert settings.task_paths == (tmp_path / "tasks",)
