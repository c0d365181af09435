from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings
from tests.models import hf_python, tiny_llama


@pytest.fixture(scope="session")
def python() -> Path:
    return hf_python(Settings().cache_dir)


@pytest.fixture(scope="session")
def model() -> Path:
    return tiny_llama(Settings().cache_dir)
