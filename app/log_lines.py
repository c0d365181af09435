"""What the service's own processes write: no key, and nothing in it drives a terminal or passes for another record."""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from logging.config import dictConfig
from types import TracebackType
from typing import Any, Literal, TypeAlias

from app.asking import NAMED
from app.domain.redaction import redact
from app.domain.visible import hanging

LogFormat: TypeAlias = Literal["text", "json"]


CHILDREN = "children"
"""Logs what children write, line by line, for collectors of JSON alone: people have it in files, as it was written."""


def as_configured(log_format: LogFormat = "text") -> dict[str, Any]:
    """For `logging.config` and for uvicorn."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"record": {"()": "app.log_lines.RecordFormatter", "log_format": log_format}},
        "filters": {"path": {"()": "app.log_lines.PathOnly"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "record"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {
            "alembic": {"level": "WARNING"},
            "uvicorn.access": {"filters": ["path"]},
            CHILDREN: {"level": logging.DEBUG if log_format == "json" else logging.CRITICAL + 1},
        },
    }


IN_TEXT = ("job", "replica", "request")
"""What a line for people names: a trace is for programs."""

log = logging.getLogger(__name__)


class RecordFormatter(logging.Formatter):
    """A record is a line with a time as events have it, and names what was worked on.

    As text its traceback, and what else a message has of lines, stands under it; as JSON all is one object on one line.
    """

    def __init__(self, log_format: LogFormat = "text") -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(named)s%(message)s")
        self._as_json = log_format == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The record as text or JSON."""
        named = {name: found for name, variable in NAMED.items() if (found := variable.get())}
        if self._as_json:
            return self._object(record, named)
        record.named = "".join(f"[{name} {named[name]}] " for name in IN_TEXT if name in named)
        return hanging(redact(super().format(record)))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002
        """UTC, to the millisecond."""
        at = datetime.fromtimestamp(record.created, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _object(self, record: logging.LogRecord, named: dict[str, str]) -> str:
        told = {
            "at": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            **named,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            told["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(told)


class PathOnly(logging.Filter):
    """Cuts the query off what uvicorn says of a request: whoever puts a key there has it in no log of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record stays."""
        match record.args:
            case (client, method, str(path), *rest):
                record.args = (client, method, path.partition("?")[0], *rest)
        return True


def set_up(log_format: LogFormat = "text") -> None:
    """Log so in this process, warnings and what nobody caught included."""
    dictConfig(as_configured(log_format))
    logging.captureWarnings(True)
    log_surprises()


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
