"""Values as pages say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.dashboard.rendering import TEMPLATES
from app.dashboard.words import NOTHING, duration, named, number, plain, score, seen, when

NOW = datetime(2026, 11, 26, 14, 32, 7, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202eevil\u200b\x00\ud800\u3164\U000e0041 \"'>"


def test_what_cannot_be_seen_is_made_visible() -> None:
    shown = str(seen("a\x1b\u202e\u200b\nb\tc\r\nd"))
    assert 'a<span class="ctl" title="U+001B">ESC</span>' in shown
    assert (
        '<span class="ctl" title="U+202E">RLO</span><span class="ctl" title="U+200B">ZWSP</span>\nb\tc\nd'
        in shown
    )
    assert plain("a\x1b\x01") == "a[ESC][U+0001]"


def test_many_alike_that_cannot_be_seen_are_counted() -> None:
    zwsp = '<span class="ctl" title="U+200B">ZWSP</span>'
    assert str(seen("<" + "\u200b" * 4)) == "&lt;" + 4 * zwsp
    assert str(seen("\u200b" * 1_000_000 + "\n")) == f'{zwsp}<span class="ctl">\u00d71,000,000</span>\n'


def test_a_name_stands_alone_and_breaks_where_it_may() -> None:
    assert str(named("org/a_b<i>")) == "<bdi>org/<wbr>a_<wbr>b&lt;i&gt;</bdi>"


@pytest.mark.parametrize(
    "how", ["{{ text }}", "{{ text|seen }}", "{{ text|named }}", '<a title="{{ text }}">x</a>']
)
def test_no_hostile_text_passes_a_template(how: str) -> None:
    shown = TEMPLATES.from_string(how).render(text=HOSTILE)
    assert "<script" not in shown
    assert not set("\x1b\u202e\u200b\x00\ud800\u3164\U000e0041") & set(shown)
    assert shown.encode()
    assert "title" not in how or shown.count('"') == 2


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        *(
            (None, "\u2013"),
            (0, "0 s"),
            (0.44, "0.4 s"),
            (9.96, "10 s"),
            (59.6, "1 min"),
            (302, "5 min 2 s"),
        ),
        *((3600, "1 h"), (5400, "1 h 30 min"), (90061, "1 d 1 h"), (-3, "0 s")),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


def test_times_are_relative_with_the_exact_one_on_hover() -> None:
    told = str(when(NOW - timedelta(minutes=51), NOW, "submitted"))
    assert told == (
        '<time datetime="2026-11-26T13:41:07Z" title="2026-11-26 13:41:07 UTC">submitted 51 min ago</time>'
    )
    assert "in 5 min" in when(NOW + timedelta(minutes=5), NOW)
    assert str(when(None, NOW)) == "\u2013"


def test_numbers_have_commas_and_unknown_ones_hold_their_place() -> None:
    assert [number(value) for value in (68039, 17.63, 12310.4, 0, 0.034, None)] == [
        *("68,039", "17.6", "12,310", "0", "0.034", "\u2013"),
    ]
    assert (score(0.78664), score(None)) == ("0.787", "\u2013")


def test_a_score_is_as_fine_as_it_is_compared() -> None:
    assert [
        score(each) for each in (None, 0.5, -3.14159, 9999.5, 37746.234, 1e12, float("inf"), float("nan"))
    ] == [*(NOTHING, "0.500", "-3.142", "9999.500", "37,746", "1,000,000,000,000", "inf", "nan")]
