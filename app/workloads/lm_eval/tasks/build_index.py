"""Writes the stored index of lm-eval's tasks: `python -m app.workloads.lm_eval.tasks.build_index`.

To be run, and its result committed, whenever the pinned lm_eval changes.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

from app.workloads.lm_eval.tasks.packaged_index import INDEX_FILE, installed_tasks_dir, packed
from app.workloads.lm_eval.tasks.task_yaml import scan


def main() -> int:
    """Scan the installed lm_eval's task files and store what was found."""
    tasks_dir = installed_tasks_dir()
    entries = scan(tasks_dir).entries
    INDEX_FILE.write_bytes(packed(entries, tasks_dir, version("lm_eval")))
    sys.stdout.write(f"{len(entries)} names of lm_eval {version('lm_eval')} in {INDEX_FILE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
