"""Libraries that the fork server need not hold: what lm-eval's import for the few who call something of theirs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

_LOADING = RLock()


class LateModule(ModuleType):
    """A module that knows its version; its code runs once, when anything else of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # else whoever looks at all modules would load it
            raise AttributeError(name)
        with _LOADING:
            if load := self.__dict__.pop("_load", None):
                load(self)
        return super().__getattribute__(name)


def put_off(name: str) -> None:
    """Import a package no sooner than it is used; nothing where it is not installed, or imported already."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    module = LateModule(name)
    vars(module).update(
        vars(module_from_spec(spec)), __version__=version(name), _load=spec.loader.exec_module
    )
    sys.modules[name] = module


@contextmanager
def as_if_absent(name: str) -> Iterator[None]:
    """Imports meanwhile go without a package that they can do without; afterwards it can be imported."""
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
