"""What a code means is told on the failure card, in the words of the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.dashboard import meanings
from app.dashboard.meanings import meaning
from app.domain.failure import FailureCode

DOCUMENT = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{4,}", text)


@pytest.mark.parametrize("code", FailureCode)
def test_a_code_means_what_its_section_says(code: FailureCode) -> None:
    section = DOCUMENT.read_text().split(f"\n### {code}\n")[1].split("\n##")[0]
    told = " ".join(each.striptags() for each in meaning(code))
    assert words(told) == words(re.sub(r"\]\([^)]*\)", "]", section))
    assert "](" not in told
    assert "`" not in told


def test_nothing_in_a_document_is_markup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "troubleshooting.md").write_text(
        "### lost\n\n`<b>` & <script>, [a `x`](y.md).\n\nMore.\n## Else\n"
    )
    monkeypatch.setattr(meanings, "files", lambda _: tmp_path)
    meanings._sections.cache_clear()
    try:
        assert meaning(FailureCode.LOST) == [
            "<code>&lt;b&gt;</code> &amp; &lt;script&gt;, a <code>x</code>.",
            "More.",
        ]
        assert meaning(FailureCode.INTERNAL) == ()
    finally:
        meanings._sections.cache_clear()
