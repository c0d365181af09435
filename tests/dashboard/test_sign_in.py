"""Signing in: a key for a cookie, which is bounded, ends with its key, and lets no other site change anything."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.dashboard.pages.sign_in import own_path
from app.domain.keys import Role, token_hash
from app.domain.sign_in import change_token, holds, sign_in
from app.services.keys import KeyService
from app.web.browser import sign_in_of
from tests.dashboard.conftest import As

COOKIE = "evalq_sign_in"


def token_of(page: str) -> str:
    """What the forms of a page carry."""
    [found, *_] = re.findall(r'name="change_token" value="([0-9a-f]{64})"', page)
    return str(found)


def test_a_key_gives_a_cookie_that_scripts_and_other_sites_cannot_use(
    browser: TestClient, keys: KeyService
) -> None:
    _, token = keys.create(name="alice", role=Role.VIEWER, team="red")
    answer = browser.post("/sign-in", data={"key": f" {token}\n", "next": "/jobs?status=failed"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?status=failed")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Max-Age=43200", "Path=/"))
    assert "Secure" not in cookie
    assert token not in cookie
    secure = browser.post("https://127.0.0.1/sign-in", data={"key": token})
    assert "Secure" in secure.headers["set-cookie"]


def test_what_is_no_key_is_refused_and_not_repeated(browser: TestClient, signed_in: As) -> None:
    signed_in()
    for key in ("", "nonsense", f"evq_{'a' * 43}", "\x00", "<script>alert"):
        answer = browser.post("/sign-in", data={"key": key})
        assert answer.status_code == 422
        assert "set-cookie" not in answer.headers
        assert not key.strip("\0") or key not in answer.text


def test_a_stranger_sends_little(browser: TestClient) -> None:
    answer = browser.post("/sign-in", data={"key": "%" * 20_000})
    assert answer.status_code == 413
    assert "16 KiB" in answer.text


def test_a_sign_in_reads_as_its_holder_and_no_further(signed_in: As) -> None:
    red = signed_in(team="red", name="alice")
    assert "<bdi>alice</bdi>" in red.get("/").text
    assert red.get("/v1/me", headers={"Accept": "application/json"}).json()["team"] == "red"


@pytest.mark.parametrize(
    "other", ['prefs={"x":1}', "cookie consent=1", 'jupyter-hub-session=a=="', "x", "", 'a="', "=b"]
)
def test_a_cookie_of_another_program_hides_no_sign_in(other: str) -> None:
    assert sign_in_of({"cookie": f"{other}; {COOKIE}=abc; z=1"}) == "abc"
    assert sign_in_of({"cookie": other}) is None


def test_the_api_takes_no_change_from_a_sign_in(signed_in: As) -> None:
    answer = signed_in(Role.OPERATOR).post("/v1/groups/a/drain")
    assert answer.status_code == 401


def test_a_change_carries_the_token_of_its_own_sign_in(signed_in: As) -> None:
    alice, bob = signed_in(name="alice"), signed_in(name="bob")
    of_alice, of_bob = token_of(alice.get("/").text), token_of(bob.get("/").text)
    for sent in ({}, {"change_token": ""}, {"change_token": of_bob}, {"change_token": "é" * 64}):
        assert alice.post("/sign-out", data=sent).status_code == 403, sent
    answer = alice.post("/sign-out", data={"change_token": of_alice})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert alice.get("/").status_code == 303


def test_a_sign_in_ends_with_its_key(signed_in: As, keys: KeyService) -> None:
    alice = signed_in()
    assert alice.get("/").status_code == 200
    keys.revoke(keys.all()[0].id)
    keys._read.clear()
    assert alice.get("/?").headers["location"] == "/sign-in?next=/"
    assert alice.get("/", headers={"HX-Request": "true"}).status_code == 401


def test_what_was_sent_after_the_end_of_a_sign_in_is_answered_in_its_place(signed_in: As) -> None:
    alice = signed_in()
    alice.cookies.clear()
    answer = alice.post("/submit", data={"text": "lm_eval"})
    assert answer.status_code == 401, "a redirect would put another page over what was typed"
    assert "What you typed is one page back" in answer.text
    assert 'name="key"' in answer.text


def test_a_sign_in_is_sealed_and_bounded(signed_in: As, app: FastAPI, keys: KeyService) -> None:
    alice = signed_in()
    cookie = alice.cookies[COOKIE]
    key_id, ends, seal = cookie.split(".")
    for forged in (
        *(f"{key_id}.{int(ends) + 1}.{seal}", f"{key_id}.{ends}.{'0' * 64}", f"{'0' * 32}.{ends}.{seal}"),
        *("", "x", f"{key_id}.{ends}", f"{key_id}.99999999999.{seal}", f"{key_id}.{ends}.{seal}0"),
    ):
        alice.cookies.clear()
        alice.cookies.set(COOKIE, forged)
        assert alice.get("/").status_code == 303, forged
    now = datetime.now(UTC)
    own = sign_in(keys.all()[0].id, now)
    assert holds(own.sealed(b"s"), b"s", now + timedelta(hours=11, minutes=59))
    assert not holds(own.sealed(b"s"), b"s", now + timedelta(hours=12))
    assert change_token(own.sealed(b"s"), b"s") not in own.sealed(b"s")


def test_a_backup_of_the_database_seals_nothing(app: FastAPI, keys: KeyService) -> None:
    key, token = keys.create(name="alice", role=Role.OPERATOR, team="red")
    sign_ins = app.state.services.sign_ins
    forged = sign_in(key.id, datetime.now(UTC)).sealed(token_hash(token))
    assert sign_ins.holder(forged) is None
    sign_ins._pepper = b"another"
    other = sign_ins.begin(token)
    sign_ins._pepper = b""
    assert sign_ins.holder(other) is None


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        *(("/jobs?a=b", "/jobs?a=b"), ("", "/"), ("//evil.example", "/"), ("/\\evil.example", "/")),
        *(
            ("https://evil.example", "/"),
            ("/a\r\nb", "/"),
            ("javascript:alert(1)", "/"),
            ("/\t/evil.example", "/"),
        ),
    ],
)
def test_signing_in_leads_nowhere_else(wanted: str, path: str) -> None:
    assert own_path(wanted) == path


def test_an_address_too_long_to_go_on_at_leads_to_the_form_all_the_same(
    browser: TestClient, signed_in: As
) -> None:
    signed_in()
    for wanted, path in ((f"/jobs?model={'x' * 1500}", "/"), ("/jobs?model=x", "/jobs%3Fmodel%3Dx")):
        asked = browser.get(wanted).headers["location"]
        assert asked == f"/sign-in?next={path}"
        assert browser.get(asked).status_code == 200


def test_another_sites_page_signs_nobody_in(browser: TestClient, keys: KeyService) -> None:
    _, token = keys.create(name="eve", role=Role.VIEWER, team="red")
    answer = browser.post("/sign-in", data={"key": token}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_without_keys_there_is_nothing_to_sign_in_to(browser: TestClient) -> None:
    assert "no keys" in browser.get("/sign-in").text
    assert "Sign out" not in browser.get("/").text
