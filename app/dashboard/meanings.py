"""What a failure's code means, as docs/troubleshooting.md tells it: the package ships that page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from markupsafe import Markup, escape

from app.domain.failure import FailureCode

_SECTION = re.compile(r"^### (\w+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"`([^`]*)`")


def meaning(code: FailureCode) -> Sequence[Markup]:
    """Its section, by paragraphs."""
    return _sections().get(code, ())


@cache
def _sections() -> Mapping[str, Sequence[Markup]]:
    text = files("app.dashboard").joinpath("troubleshooting.md").read_text("utf-8")
    return {
        name: [_shown(each) for each in told.strip().split("\n\n")] for name, told in _SECTION.findall(text)
    }


def _shown(paragraph: str) -> Markup:
    """Names stand out; what a link leads to is a document, which is not served."""
    said = str(escape(" ".join(_LINK.sub(r"\1", paragraph).split())))
    return Markup(_CODE.sub(r"<code>\1</code>", said))  # noqa: S704 - escaped
