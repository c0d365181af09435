"""The packages of this environment, and the page about it that lm-eval puts into its results (`pretty_env_info`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from torch.utils.collect_env import get_pretty_env_info

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""It asks other programs, such as nvidia-smi; one that hangs must not keep an engine from its work."""


class Environment:
    """Collects the page beside what else is done meanwhile: about half a second, most of it waiting for pip."""

    def __init__(self) -> None:
        self._collected = False
        self._text = f"not collected within {PATIENCE_SECONDS:g} s"
        self._thread = threading.Thread(target=self._collect, name="environment", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The page, or in its place what went wrong, as in lm-eval; what the loading disturbed is tried again."""
        self._thread.join(PATIENCE_SECONDS)
        if not self._collected and not self._thread.is_alive():
            self._collect()
        return self._text

    def _collect(self) -> None:
        try:
            self._text = get_pretty_env_info()
            self._collected = True
        except Exception as error:
            log.exception("the environment cannot be described")
            self._text = str(error)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's, and those of the packages that are there."""
    found = {"python": python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
