"""A posted job whose model lies on the hub: planned by what the hub says, and by other means where it says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.domain.plan import Plan
from app.errors import InvalidJobError
from tests.models.fake_hub import COMMIT, LLAMA, FakeHub, Repository, fake_hub
from tests.workloads.lm_eval.reading.desk import Desk

NAME = "me/llama"


class AskingDesk(Desk):
    """One that may ask a hub, which has a model of 8 billion parameters."""

    def __init__(self, root: Path, hub: FakeHub) -> None:
        super().__init__(root)
        self.hub = hub
        hub.repositories[NAME] = Repository()
        asks = {"hub_offline": False, "hub_endpoint": hub.endpoint}
        self.settings = self.settings.model_copy(update=asks)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[AskingDesk]:
    with fake_hub() as hub:
        yield AskingDesk(tmp_path, hub)


@pytest.mark.parametrize("model", ["hf", "vllm"])
def test_a_model_is_planned_by_what_the_hub_says(asking: AskingDesk, model: str) -> None:
    found = asking.submit(model=model, model_args={"pretrained": NAME}, model_size="1B")
    assert found.plan.memory is not None
    assert found.plan.memory.weights_gib == pytest.approx(14.96, abs=0.01)
    assert any("sizes are from the hub (127.0.0.1" in line for line in found.plan.explanation)


def test_what_is_said_and_what_is_known_by_name_come_after_it(asking: AskingDesk) -> None:
    asking.hub.instead = 503, {}, b""
    by_size = asking.submit(model_args={"pretrained": NAME}, model_size="8B")
    by_name = asking.submit(model_args={"pretrained": "meta-llama/Meta-Llama-3-8B"})
    assert all(any("tells nothing of the model" in note for note in job.notes) for job in (by_size, by_name))
    assert by_size.plan.memory
    assert by_size.plan.memory.source == "model_size"
    assert by_name.plan.memory
    assert by_name.plan.memory.source == "the table of well-known models (llama-3-8b)"


@pytest.mark.parametrize("switch", [{"hub_offline": True}, {"ask_hub": False}])
def test_nobody_is_asked_where_the_operator_does_not_want_it(asking: AskingDesk, switch: Any) -> None:
    found = asking.submit(switch, model_args={"pretrained": NAME})
    assert (asking.hub.asked, found.plan.memory) == ([], None)
    assert "the hub" not in str(found.notes)


@pytest.mark.parametrize("args", [{"subfolder": "a"}, {"gguf_file": "a.gguf"}])
def test_of_a_part_of_a_repository_nothing_is_asked(asking: AskingDesk, args: dict[str, str]) -> None:
    asking.submit(model_args={"pretrained": NAME, **args})
    assert asking.hub.asked == []


def test_a_missing_revision_is_refused_with_a_plan(asking: AskingDesk) -> None:
    with pytest.raises(InvalidJobError) as error:
        asking.submit(model_args={"pretrained": NAME, "revision": "v9"}, model_size="8B")
    assert [fault.path for fault in error.value.faults] == ["model_args.revision"]
    assert isinstance(error.value.plan, Plan)
    assert error.value.plan.memory


def test_a_missing_model_is_refused_where_the_hub_is_sure(asking: AskingDesk) -> None:
    absent = {"pretrained": "no/such"}
    assert asking.faults({}, model_args=absent) == {}
    faults = asking.faults({"hub_token": SecretStr("mine")}, model_args=absent)
    assert "has no model no/such" in faults["model_args.pretrained"]


def test_what_vllm_does_not_load_is_refused_of_the_hub_too(asking: AskingDesk) -> None:
    asking.hub.repositories[NAME].config = LLAMA | {"architectures": ["MambaOfMineForCausalLM"]}
    vllm: dict[str, Any] = {"model": "vllm", "model_args": {"pretrained": NAME}}
    assert "MambaOfMine" in asking.faults({}, **vllm)["model_args.pretrained"]
    long = {"pretrained": NAME, "max_model_len": 9000}
    assert "max_model_len" in str(asking.faults({}, model="vllm", model_args=long))


def test_an_engine_is_the_same_whether_the_hub_answered(asking: AskingDesk) -> None:
    told = asking.submit(model_args={"pretrained": NAME})
    asking.hub.instead = 503, {}, b""
    untold = asking.submit({"hub_endpoint": asking.hub.endpoint + "/"}, model_args={"pretrained": NAME})
    assert told.engine == untold.engine


def test_a_copy_on_this_host_is_known_without_asking(asking: AskingDesk) -> None:
    snapshot = asking.settings.hub_home / "hub" / "models--me--own" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    copied = {"pretrained": "me/own", "revision": COMMIT}
    found = asking.submit({"hub_offline": True}, model_args=copied, model_size="1B")
    assert found.plan.memory
    assert found.plan.memory.source == "the copy of the hub's model on this host"
    assert found.plan.memory.weights_gib == pytest.approx(14.96, abs=0.01)
