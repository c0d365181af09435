"""What the service's own processes write: no key, and nothing in it drives a terminal or passes for another record."""

from __future__ import annotations

import logging
import sys
import threading
from logging.config import dictConfig
from types import TracebackType
from typing import Any

from app.domain.redaction import redact
from app.domain.visible import hanging

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"record": {"()": "app.log_lines.RecordFormatter"}},
    "filters": {"path": {"()": "app.log_lines.PathOnly"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "record"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {"alembic": {"level": "WARNING"}, "uvicorn.access": {"filters": ["path"]}},
}
"""For `logging.config` and for uvicorn."""

log = logging.getLogger(__name__)


class RecordFormatter(logging.Formatter):
    """A record begins a line; its traceback, and what else a message has of lines, stands under it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return hanging(redact(super().format(record)))


class PathOnly(logging.Filter):
    """Cuts the query off what uvicorn says of a request: whoever puts a key there has it in no log of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record stays."""
        match record.args:
            case (client, method, str(path), *rest):
                record.args = (client, method, path.partition("?")[0], *rest)
        return True


def set_up() -> None:
    """Log so in this process, what nobody caught included."""
    dictConfig(LOGGING)
    log_surprises()


def write_so(logger: logging.Logger) -> None:
    """The same for a logger that others have set up."""
    for handler in logger.handlers:
        handler.setFormatter(RecordFormatter())


def log_surprises() -> None:
    """An exception that nobody catches becomes a record, in threads too, instead of its bare words on stderr."""
    sys.excepthook = _log_surprise
    threading.excepthook = lambda args: _log_surprise(args.exc_type, args.exc_value, args.exc_traceback)


def _log_surprise(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if not issubclass(kind, Exception):
        sys.__excepthook__(kind, error or kind(), trace)
    else:
        log.critical("an unforeseen error", exc_info=(kind, error or kind(), trace))
