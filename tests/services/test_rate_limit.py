from __future__ import annotations

import logging

import pytest

from app.domain.ids import uuid7
from app.errors import TooManyRequestsError
from app.services.rate_limit import RateLimit
from app.settings import Settings


@pytest.fixture
def limited(settings: Settings) -> Settings:
    return settings.model_copy(update={"requests_per_minute": 3})


def test_a_key_has_its_requests_every_minute(limited: Settings) -> None:
    time = [60_000_045.0]
    one, other = RateLimit(limited, now=lambda: time[0]), RateLimit(limited, now=lambda: time[0])
    key = uuid7()
    for rates in (one, other, one):
        rates.count(key)
    with pytest.raises(TooManyRequestsError) as refused:
        other.count(key)
    assert refused.value.retry_after_seconds == 60 - 60_000_045 % 60
    other.count(uuid7())
    time[0] += refused.value.retry_after_seconds
    other.count(key)
    one.close()
    other.close()


def test_nothing_is_counted_without_a_limit_or_without_redis(
    limited: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    key = uuid7()
    for changed in ({"requests_per_minute": 0}, {"redis_url": "redis://127.0.0.1:1/0"}):
        rates = RateLimit(limited.model_copy(update=changed))
        with caplog.at_level(logging.WARNING):
            for _ in range(10):
                rates.count(key)
        rates.close()
    assert len(caplog.records) == 1
