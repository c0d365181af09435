"""What a host's CPU is called."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

UNKNOWN = "CPU"


def cpu_name(file: Path = Path("/proc/cpuinfo")) -> str:
    """As Linux names it; `UNKNOWN` where it does not, as on ARM."""
    with suppress(OSError):
        for line in file.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return UNKNOWN
