"""YAML as JSON: what JSON has, written otherwise."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable
from typing import Any

import yaml

from app.domain.visible import one_line

MOST_CHARACTERS = 64 * 1024
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What the loader raises, beside errors of its own, at tags that do not fit their values."""
_FIRST_LINE = re.compile(
    r"\A\ufeff?(?:[ \t]*(?:#[^\n]*)?\n)*(?:---[ \t]*$|[A-Za-z_]\w*[ \t]*:(?:[ \t]|$))", re.MULTILINE
)


class _PlainLoader(yaml.SafeLoader):
    """Without aliases, by which a small file stands for a huge one, and with names only once."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not read here")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        counted = Counter(key.value for key, _ in node.value if isinstance(key.value, str))
        if twice := next((name for name, count in counted.items() if count > 1), None):
            raise yaml.YAMLError(f"{twice} stands there twice")
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def looks_like_yaml(text: str) -> bool:
    """Whether the first line that says something is `name: value`, as no command's is."""
    return _FIRST_LINE.match(text) is not None


def plain_yaml(text: str) -> dict[str, Any]:
    """Names with values; ValueError that says, behind the name of a file, what is wrong with it."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"has more than {MOST_CHARACTERS} characters, as no file of settings has")
    try:
        found = _PlainLoader(text).get_single_data()
        plain = json.loads(json.dumps(found, allow_nan=False))
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML that can be read: {one_line(str(error))}") from None
    except (*UNREADABLE, RecursionError) as error:
        raise ValueError(f"holds what JSON has not: {one_line(str(error))[:200]}") from None
    if not isinstance(plain, dict):
        raise ValueError("must hold names with values, as `lm_eval run --config` reads them")  # noqa: TRY004
    return plain
