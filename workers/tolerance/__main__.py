"""`python -P -m workers.tolerance ORDER [json]`: what `evalq backends calibrate` becomes.

What was found is a line on stdout, or JSON; how far it is goes to stderr.
"""

from __future__ import annotations

import signal
import sys
from functools import partial
from types import FrameType

from pydantic import TypeAdapter

from app.backends.tolerances import keep
from app.domain.tolerance import Tolerance
from app.domain.visible import hanging, one_line
from app.errors import EvalqError
from app.settings import Settings, current
from workers.gpu_worker.group import GroupDevices
from workers.tolerance.engine import measured_engine
from workers.tolerance.order import ToleranceOrder
from workers.tolerance.run import alone, measured

GROUP = "tolerance"
"""What its devices are called after; no group of a worker."""


def main(order: str, *options: str) -> int:
    """The exit code. Whatever ends it, no engine is left, and what is stored is whole."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        found = _measured(ToleranceOrder.from_text(order), current())
    except (EvalqError, OSError) as error:
        _say(f"evalq: {hanging(str(error))}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    sys.stdout.write(f"{_as_json(found) if 'json' in options else one_line(found.told)}\n")
    return 0


def _measured(order: ToleranceOrder, settings: Settings) -> Tolerance:
    own = settings.model_copy(update={"worker_group": GROUP, "worker_devices": order.devices})
    with alone(settings.cache_dir):
        start = partial(measured_engine, devices=GroupDevices(own), settings=settings)
        found = measured(order, settings, start, _say)
        keep(found, settings.cache_dir)
    return found


def _as_json(found: Tolerance) -> str:
    return TypeAdapter(Tolerance).dump_json(found).decode()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _leave(number: int, _: FrameType | None) -> None:
    """The engine is ended on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
