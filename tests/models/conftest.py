from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.fake_hub import FakeHub, fake_hub
from tests.models.folders import LLAMA, write_json, write_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_json(tmp_path / "config.json", LLAMA)
    write_weights(tmp_path / "model.safetensors", a=[10, 20], b=[5, 4])
    return tmp_path


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as running:
        yield running
