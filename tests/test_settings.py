from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import InvalidSettingError
from app.settings import Settings, current


def test_folders_are_named_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALQ_CACHE", "cache")
    monkeypatch.setenv("EVALQ_DATA_DIR", "./data")
    monkeypatch.setenv("EVALQ_TASK_PATHS", "tasks")
    settings = Settings()
    assert (settings.cache_dir, settings.data_dir) == (tmp_path / "cache", tmp_path / "data")
    assert settings.task_paths == (tmp_path / "tasks",)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("EVALQ_TEAM_QUOTAS", "red=4", "no JSON.*team_quotas"),
        ("EVALQ_TEAM_QUOTAS", "[4]", "EVALQ_TEAM_QUOTAS: "),
        ("EVALQ_TEAM_QUOTAS", '{"red": -1}', "EVALQ_TEAM_QUOTAS.red: .* greater than or equal to 0"),
        ("EVALQ_TEAM_QUOTAS", '{"red": 1.5}', "EVALQ_TEAM_QUOTAS.red: .*integer"),
        ("EVALQ_TEAM_QUOTAS", '{"red": 1e300}', "EVALQ_TEAM_QUOTAS.red: "),
        ("EVALQ_SHARE_WEIGHTS", '{"red": 0}', "EVALQ_SHARE_WEIGHTS.red: .*greater than 0"),
        ("EVALQ_SHARE_ENTRY_SECONDS", "nan", "EVALQ_SHARE_ENTRY_SECONDS: "),
        ("EVALQ_PRIORITY_BOUNDS", '{"submitter": [9, 5]}', "EVALQ_PRIORITY_BOUNDS: .*submitter is 9, above"),
        ("EVALQ_PORT", "eight", "EVALQ_PORT: .*integer"),
    ],
)
def test_a_setting_that_cannot_be_is_named_in_a_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettingError, match=says) as refused:
        current.__wrapped__()
    assert "\n" not in str(refused.value)
