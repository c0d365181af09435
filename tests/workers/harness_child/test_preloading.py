"""What the fork server holds while nothing goes on, and what a job finds in its copy."""

from __future__ import annotations

import os
import subprocess
import sys

LOOK = """
import sys
from workers.harness_child.main import preload
preload()
assert not {"redis", "chardet.universaldetector", "torch", "sqlalchemy"} & sys.modules.keys()
import requests, redis
answer = requests.Response()
answer._content = "Ein Gruß an alle, die größere Bücher für schöne Mädchen süß fänden".encode("utf-8")
assert answer.apparent_encoding == "utf-8", answer.apparent_encoding
assert "chardet.universaldetector" in sys.modules and redis.Redis
import chardet
assert chardet.detect(b"abc")["encoding"] == "ascii" and not hasattr(chardet, "no_such_name")
"""


def test_what_jobs_seldom_use_is_imported_when_they_do() -> None:
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], env=os.environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert looked.returncode == 0, looked.stderr
