"""The command: provokes what it is told to, or everything, and prints what its jobs would be told."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.settings import Settings
from tests.vllm_failures.cases import CASES
from tests.vllm_failures.provoke import provoke
from tests.vllm_failures.table import row, write


def main() -> int:
    """0 where every failure is understood and nothing was left of any."""
    parser = argparse.ArgumentParser(prog="python -m tests.vllm_failures", description=__doc__)
    parser.add_argument("names", nargs="*", help="cases; everything where none is named")
    parser.add_argument("--logs", type=Path, help="a folder for the engines' logs")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/troubleshooting.md")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - CASES.keys()):
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    wrong = False
    for finding in provoke([CASES[name] for name in args.names or CASES], Settings().cache_dir, args.logs):
        print(row(finding), flush=True)
        for words in finding.wrong:
            print(f"  WRONG: {words}", flush=True)
            wrong = True
        if args.write:
            write([finding])
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
