"""What a child writes, as records of its supervisor, which name whom it worked for."""

from __future__ import annotations

import logging

from app.log_lines import CHILDREN
from workers.supervision.log_tail import level_of

LEVELS = logging.getLevelNamesMapping()

log = logging.getLogger(CHILDREN)


def tell(text: str) -> None:
    """Each line a record, where records are objects: a file for people has the lines as they are."""
    if log.isEnabledFor(logging.INFO):
        for line in filter(str.strip, text.splitlines()):
            log.log(LEVELS[level_of(line) or "INFO"], "%s", line)
