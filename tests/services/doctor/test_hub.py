from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from app.services.doctor import Finding, State
from app.services.doctor.hub import look_at_hub
from app.settings import Settings
from tests.models.fake_hub import FakeHub, fake_hub


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with fake_hub() as running:
        yield running


def found(hub: FakeHub, answer: tuple[int, dict[str, str], bytes] | None = None, **settings: Any) -> Finding:
    hub.instead = answer or (200, {}, b"[]")
    asks = {"hub_offline": False, "hub_endpoint": hub.endpoint} | settings
    [finding] = look_at_hub(Settings().model_copy(update=asks))
    assert "secret" not in finding.says
    return finding


def test_a_hub_that_answers_is_named(hub: FakeHub) -> None:
    host = hub.endpoint.removeprefix("http://")
    assert (found(hub).state, found(hub).says) == (State.OK, f"{host} answers without a token")
    named = found(hub, hub_token=SecretStr("hf_secret"), ask_hub=False)
    assert named.says == f"{host} answers with a token; posted jobs do not ask it (EVALQ_ASK_HUB)"
    assert hub.asked[-1] == "/api/whoami-v2"


def test_one_that_is_not_to_be_asked_is_not(hub: FakeHub) -> None:
    before = len(hub.asked)
    assert found(hub, hub_offline=True).state is State.OK
    assert len(hub.asked) == before


@pytest.mark.parametrize(
    ("answer", "settings", "says"),
    [
        ((503, {}, b""), {}, "it answers 503"),
        (None, {"hub_endpoint": "http://me:secret@127.0.0.1:9"}, "127.0.0.1:9: nobody answers there"),
        ((401, {}, b""), {"hub_token": SecretStr("hf_secret")}, "refuses HF_TOKEN (401)"),
        ((404, {}, b""), {}, "refuses to answer (404)"),
    ],
)
def test_what_is_wrong_with_it_is_a_warning(hub: FakeHub, answer: Any, settings: Any, says: str) -> None:
    finding = found(hub, answer, **settings)
    assert finding.state is State.WARNING
    assert says in finding.says
    assert finding.advice


def test_one_that_hangs_is_not_waited_for(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.doctor.hub.PATIENCE_SECONDS", 0.05)
    hub.go_on.clear()
    finding = found(hub)
    hub.go_on.set()
    assert (finding.state, "no answer" in finding.says or "in time" in finding.says) == (State.WARNING, True)
