"""Names of models on the hub, by the rules of huggingface_hub's `validate_repo_id`."""

from __future__ import annotations

import re

_PART = r"(?![.-])[A-Za-z0-9_.-]{1,96}(?<![.-])"
_HUB_NAME = re.compile(rf"(?:{_PART}/)?{_PART}")


def is_hub_name(name: str) -> bool:
    """Whether a repository can be called so: `name` or `owner/name`."""
    return _HUB_NAME.fullmatch(name) is not None and ".." not in name and "--" not in name
