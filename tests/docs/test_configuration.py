"""docs/configuration.md lists every setting, with the default and the words of app/settings.py."""

from __future__ import annotations

from pathlib import Path

from pydantic.fields import FieldInfo

from app.settings import Settings

CONFIGURATION = Path(__file__).parents[2] / "docs" / "configuration.md"


def shown(default: object) -> str:
    """A default as an operator would write it."""
    if isinstance(default, tuple):
        default = ", ".join(str(part) for part in default)
    if isinstance(default, bool):
        default = str(default).lower()
    text = str(default).replace(str(Path.home()), "~")
    return f"`{text}`" if text else ""


def row(name: str, field: FieldInfo) -> str:
    variable = field.validation_alias or f"EVALQ_{name.upper()}"
    return f"| `{variable}` | {shown(field.default)} | {field.description} |"


def test_the_table_is_the_settings() -> None:
    wanted = [row(name, field) for name, field in Settings.model_fields.items()]
    section = CONFIGURATION.read_text().split("\n## The service\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == wanted
