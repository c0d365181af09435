"""Who asks, and what answers."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api.health import VERSION
from app.domain.keys import Role
from app.services.keys import KeyService


def test_without_keys_everybody_is_the_same_operator(api: TestClient) -> None:
    assert api.get("/v1/me").json() == {
        "name": "anonymous",
        "team": "default",
        "role": "operator",
        "sees_all_teams": True,
    }


def test_the_holder_of_a_key_is_told_who_they_are(app: FastAPI, api: TestClient) -> None:
    keys: KeyService = app.state.services.keys
    _, token = keys.create(name="alice", role=Role.VIEWER, team="red")
    keys._looked_at = float("-inf")
    me = api.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert me.json() == {"name": "alice", "team": "red", "role": "viewer", "sees_all_teams": False}
    assert token not in me.text


def test_versions_are_told(api: TestClient) -> None:
    told = api.get("/v1/version").json()
    assert (told["version"], told["api"], told["lm_eval"]) == (VERSION, "v1", "0.4.13")
