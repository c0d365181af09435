"""A process tree for tests: this process, one that ignores SIGTERM, and one that also leaves by setsid.

It says `ready` with all their ids, then does what its argument says.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from workers.protocol.frames import Connection


def fork_stubborn(leave: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        leave()
        os.write(told, b".")
        while True:
            signal.pause()
    return pid


heard, told = os.pipe()
descendants = [fork_stubborn(lambda: None), fork_stubborn(os.setsid)]
for _ in descendants:
    os.read(heard, 1)
connection = Connection.from_fd(int(os.environ["EVALQ_FD"]))
match sys.argv[1]:
    case "obey":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    case "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
connection.send({"type": "ready", "pids": [os.getpid(), *descendants]})
print("the family stands", flush=True)  # noqa: T201 (what a child prints goes to its log)
connection.receive()
if sys.argv[1] == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
os._exit(3)
