"""`lm_eval` once for each command line of a JSON list on stdin. Run with the hf backend's Python."""

from __future__ import annotations

import json
import sys

from lm_eval.__main__ import cli_evaluate

if __name__ == "__main__":
    for words in json.load(sys.stdin):
        sys.argv = ["lm_eval", *words]
        cli_evaluate()
