"""The page about an engine's environment, collected while it loads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import pytest


class Pages(ModuleType):
    """In the place of torch's module, which these tests do without."""

    get_pretty_env_info: Callable[[], str]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    module = Pages("torch.utils.collect_env")
    for name in ("torch", "torch.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "workers.engine_child.environment", raising=False)
    return module


def test_what_the_loading_disturbed_is_tried_again(pages: Pages) -> None:
    faults = [ImportError("partially initialized module")]

    def page() -> str:
        if faults:
            raise faults.pop()
        return "PyTorch version: 2"

    pages.get_pretty_env_info = page
    environment = import_module("workers.engine_child.environment").Environment()
    assert environment.text() == "PyTorch version: 2"


def test_what_goes_wrong_twice_is_the_page(pages: Pages) -> None:
    def page() -> str:
        raise OSError("no pip here")

    pages.get_pretty_env_info = page
    assert import_module("workers.engine_child.environment").Environment().text() == "no pip here"
