"""Fingerprints as they were before any engine changed what it answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version

from workers.harness_child.fingerprint import content


def first_fingerprint(model: str, args: Mapping[str, object], backend_key: str = "k") -> bytes:
    """Of an hf engine whose arguments all count."""
    parts = {
        "backend": "hf",
        "backend_key": backend_key,
        "lm_eval": version("lm_eval"),
        "model": content(model, None),
        "args": dict(args),
        "env": {},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()
