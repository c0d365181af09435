"""Data that lies beside a task's YAML file, wherever that is.

lm-eval reads a path in `dataset_kwargs.data_files` from the current folder, which is an empty one here;
a loader can read it from its own.
"""

from __future__ import annotations

import json
from pathlib import Path

from datasets import Dataset, DatasetDict


def load(file: str, **_metadata: object) -> DatasetDict:
    """The documents of a JSONL file of this folder, as the split `test`."""
    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return DatasetDict({"test": Dataset.from_list([json.loads(line) for line in lines])})
