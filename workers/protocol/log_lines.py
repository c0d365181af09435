"""How children log: as the service does, a time as events have it, a level, a logger and the words."""

from __future__ import annotations

import logging
import time


class ChildFormatter(logging.Formatter):
    """A record as a line that begins with the time in UTC; a traceback stands under it as Python prints it."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")


def log_so(level: int, *also: str) -> None:
    """Write to stderr what reaches the root logger from this level on, and what these others keep to themselves."""
    handler = logging.StreamHandler()
    handler.setFormatter(ChildFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    for name in also:
        for own in logging.getLogger(name).handlers:
            own.setFormatter(ChildFormatter())
