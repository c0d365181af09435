"""What can be seen of a service from afar, over HTTP alone: whether it is ready, its groups, what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from app.db.vitals import DeviceVitals, GroupVitals
from app.domain.replica import DeviceState
from app.services.doctor.cluster import judge_devices, judge_groups
from app.services.doctor.finding import Finding, State, fault, ok
from app.services.doctor.servers import PATIENCE_SECONDS, look_at_api

Json = dict[str, Any]

UNUSABLE = {DeviceState.DIRTY, DeviceState.DRAINED}


def look_over_http(url: str, token: str | None, version: str) -> list[Finding]:
    """An API that does not answer is a fault here: there is nothing else to look at."""
    found = [
        replace(finding, state=State.FAULT) if finding.state is State.WARNING else finding
        for finding in look_at_api(url)
    ]
    if any(finding.state is State.FAULT for finding in found):
        return found
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False) as api:
        answers = {name: api.get(f"/v1/{name}") for name in ("groups", "queue")}
    refused = [_refusal(name, answer) for name, answer in answers.items() if answer.is_error]
    if refused:
        return found + refused
    groups, queue = (answer.json() for answer in answers.values())
    return [*found, *judge_told_groups(groups["data"], version), judge_queue(queue)]


def _refusal(name: str, answer: httpx.Response) -> Finding:
    advice = "set EVALQ_TOKEN to a key of the service" if answer.status_code in {401, 403} else "see its log"
    return fault(name, f"GET /v1/{name} answered {answer.status_code} {answer.reason_phrase}", advice)


def judge_told_groups(groups: Sequence[Json], version: str) -> list[Finding]:
    """Groups and devices as `GET /v1/groups` tells of them; the service itself says which are alive."""
    now = datetime.now(UTC)
    told = [
        GroupVitals(
            name=group["name"],
            host=group["host"],
            version=group["version"],
            backends=tuple(group["backends"]),
            silent=timedelta() if group["alive"] else now - datetime.fromisoformat(group["heartbeat_at"]),
            draining=group["draining"],
            unusable=group.get("unusable_backends") or {},
        )
        for group in groups
    ]
    devices = [
        DeviceVitals(
            device["id"],
            group["name"],
            DeviceState(device["state"]),
            device["reason"],
            faulty=device.get("faulty", False),
            warnings=tuple(device.get("warnings", ())),
        )
        for group in groups
        for device in group["devices"]
        if device["state"] in UNUSABLE or device.get("warnings")
    ]
    return [*judge_groups(told, timedelta(), version), *judge_devices(devices)]


def judge_queue(page: Json) -> Finding:
    """What waits, as `GET /v1/queue` tells of it; a service of an earlier version tells less."""
    waiting = page["data"]
    if not waiting:
        return ok("queue", "nothing waits")
    says = f"{page.get('total', len(waiting))} jobs wait, the first for {waiting[0]['waiting_for']}"
    if troubles := page.get("troubles"):
        return fault("queue", says, "; ".join(troubles))
    return ok("queue", says)
