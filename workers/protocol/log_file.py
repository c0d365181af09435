"""Where a child's output goes: its log, or nowhere if this host has no room for one."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def open_log(path: Path) -> int:
    """A descriptor that appends to the log, made with its folder; where that cannot be, one that forgets everything.

    A full or read-only disk must not keep a job from its answers, which go to the database.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        log.warning("going on without the log %s: %s", path, error)
        return os.open(os.devnull, os.O_WRONLY)
