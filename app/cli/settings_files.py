"""YAML of this machine as JSON that can be posted: lm-eval's `--config`, and what accelerate keeps its answers in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from app.cli.terminal import CliError
from app.client.calls import Json
from app.client.exit_codes import Exit
from app.domain.visible import one_line
from app.workloads.lm_eval.command.flags import BY_NAME
from app.workloads.lm_eval.command.processes import is_launchers

MOST_CHARACTERS = 1024 * 1024
_MOST_SETTINGS = 64 * 1024
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


def settings_of(text: str, name: str) -> Json:
    """What a file of settings holds; wrong usage, with the reason, where it is no such file."""
    if len(text) > _MOST_SETTINGS:
        raise _refused(name, f"has more than {_MOST_SETTINGS} characters, as no file of settings has")
    try:
        found = _PlainLoader(text).get_single_data()
        plain = json.loads(json.dumps(found, allow_nan=False))
    except yaml.YAMLError as error:
        raise _refused(name, f"is not YAML that can be read: {one_line(str(error))}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise _refused(name, f"holds what JSON has not: {one_line(str(error))[:200]}") from None
    if not isinstance(plain, dict):
        raise _refused(name, "must hold names with values, as `lm_eval run --config` reads them")
    if not plain.keys() & BY_NAME.keys() and not is_launchers(plain):
        raise _refused(name, "holds no setting of lm_eval or accelerate, and is not sent anywhere")
    return plain


def read_settings(path: Path) -> Json:
    """The settings in a file of this machine."""
    return settings_of(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A text file of bounded size; wrong usage, with the reason, where it is none."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except OSError as error:
        raise _refused(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _refused(str(path), "is no text in UTF-8") from None
    return bounded(text, str(path))


def bounded(text: str, name: str) -> str:
    """The text, or wrong usage where it is longer than any job."""
    if len(text) > MOST_CHARACTERS:
        raise _refused(name, f"has more than {MOST_CHARACTERS} characters")
    return text


def _refused(name: str, why: str) -> CliError:
    return CliError(f"{name} {why}", Exit.USAGE)
