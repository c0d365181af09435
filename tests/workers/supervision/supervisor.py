"""A supervisor to be killed or frozen: starts a family and prints its shim's and its processes' ids.

Arguments: the log, the replica's id, and after how many seconds its lease ends (`inf` for never).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from workers.containment.bounds import Bounds
from workers.supervision.child import Child
from workers.supervision.janitor import Mark

log, replica, seconds = sys.argv[1:]
family = str(Path(__file__).with_name("family.py"))
child = Child.start(
    [sys.executable, family, "ignore"],
    env=dict(os.environ),
    log_path=Path(log),
    mark=Mark.replica(replica),
    bounds=Bounds(),
    orphan_grace_seconds=0.1,
)
ready = child.connection.receive(30)
assert ready is not None
child.live_until(time.monotonic() + float(seconds))
parent = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[1]
print(json.dumps({"shim": int(parent), "pids": ready["pids"]}), flush=True)  # noqa: T201 (read by the test)
signal.pause()
