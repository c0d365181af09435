"""What a hub says of a model, and that nothing it does or leaves undone is more than a note."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from app.models.hub import FRESH_SECONDS, MOST_INFO_BYTES, SILENT_SECONDS, Hub
from app.models.hub_answer import HubAnswer
from app.models.hub_client import HubClient
from tests.models.fake_hub import COMMIT, LLAMA, LLAMA_PARAMETERS, FakeHub, Repository
from tests.waiting import until

ODD = [None, 0, -1, True, 1.5, "x", [], {}, [1], {"a": 1}, 10**30, 1e999]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def told(hub: FakeHub, name: str = "me/llama", revision: str | None = None, token: str = "") -> HubAnswer:
    return Hub(HubClient(hub.endpoint, token)).look_up(name, revision, patience=20)


def test_a_models_shape_and_size_are_told(hub: FakeHub) -> None:
    hub.repositories["me/llama"] = Repository()
    facts = told(hub).facts
    assert facts is not None
    assert (facts.parameters, facts.weight_bytes) == (LLAMA_PARAMETERS, 2 * LLAMA_PARAMETERS)
    assert (facts.num_layers, facts.num_key_value_heads, facts.max_positions) == (32, 8, 8192)
    assert (facts.dtype, facts.model_class, facts.path) == ("bfloat16", "LlamaForCausalLM", None)
    assert facts.source == f"the hub ({hub.endpoint.removeprefix('http://')})"
    assert hub.asked == ["/api/models/me/llama?blobs=true", f"/me/llama/resolve/{COMMIT}/config.json"]


def test_a_revision_is_asked_for_by_its_name(hub: FakeHub) -> None:
    hub.repositories["me/llama"] = Repository(revisions=("refs/pr/1",))
    assert told(hub, revision="refs/pr/1").facts is not None
    assert hub.asked[0] == "/api/models/me/llama/revision/refs%2Fpr%2F1?blobs=true"
    assert "has no revision 'v2' of me/llama" in str(told(hub, revision="v2").revision_fault)


def test_packed_weights_are_counted_from_the_configuration(hub: FakeHub) -> None:
    """The hub counts what is packed in ways of its own."""
    quantized = LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    files = {"model-00001-of-00002.safetensors": 5 * 10**9, "model-00002-of-00002.safetensors": 7 * 10**8}
    hub.repositories["me/llama"] = Repository(
        quantized, {"parameters": {"I32": 10**9, "F16": 10**9}}, files | {"consolidated.safetensors": 9}
    )
    facts = told(hub).facts
    assert facts is not None
    assert (facts.parameters, facts.weight_bytes) == (LLAMA_PARAMETERS, 57 * 10**8)
    assert (facts.quantization, facts.bytes_by_dtype) == ("awq 4-bit", {})


def test_pickles_are_measured_by_their_files(hub: FakeHub) -> None:
    files = {"pytorch_model.bin": 16 * 10**9, "training_args.bin": 5, "onnx/model.bin": 7}
    hub.repositories["me/llama"] = Repository(safetensors=None, files=files)
    facts = told(hub).facts
    assert facts is not None
    assert (facts.parameters, facts.weight_bytes) == (LLAMA_PARAMETERS, 16 * 10**9)


def test_a_gated_model_is_told_by_what_all_may_see(hub: FakeHub) -> None:
    hub.repositories["meta-llama/Meta-Llama-3-8B"] = Repository(gated="manual", readers=("mine",))
    answer = told(hub, "meta-llama/Meta-Llama-3-8B")
    assert answer.facts is not None
    assert (answer.facts.parameters, answer.facts.num_layers) == (LLAMA_PARAMETERS, 32)
    assert answer.notes == (
        "meta-llama/Meta-Llama-3-8B is gated: workers need the HF_TOKEN of an account that accepted its terms",
    )
    assert "accept its terms" in str(told(hub, "meta-llama/Meta-Llama-3-8B", token="another").fault)
    assert told(hub, "meta-llama/Meta-Llama-3-8B", token="mine").fault is None


def test_what_nobody_is_shown_may_be_private(hub: FakeHub) -> None:
    """Without a token this is not known; with one it is."""
    hub.repositories["me/own"] = Repository(private=True, readers=("mine",))
    for name in ("me/own", "no/such"):
        answer = told(hub, name)
        assert (answer.facts, answer.fault) == (None, None)
        assert "there is none, or it is private" in answer.notes[0]
        assert f"has no model {name}" in str(told(hub, name, token="another").fault)
    assert told(hub, "me/own", token="mine").notes == ("me/own is private on the hub",)


def test_a_token_that_the_hub_does_not_know_is_told(hub: FakeHub) -> None:
    hub.instead = 401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b""
    assert "does not accept this host's HF_TOKEN" in told(hub, token="old").notes[0]


def test_a_token_stays_with_its_hub(hub: FakeHub) -> None:
    elsewhere = hub.endpoint.replace("127.0.0.1", "localhost")
    hub.instead = 307, {"Location": f"{elsewhere}/other"}, b""
    told(hub, token="hf_secret")
    assert hub.tokens[0] == "hf_secret"
    assert set(hub.tokens[1:]) == {None}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((503, {}, b""), "it answers 503"),
        ((429, {}, b""), "it answers 429"),
        ((200, {}, b"<html>Log in to this network</html>"), "what answers there is no hub"),
        ((200, {}, b"[" * 10**5), "what answers there is no hub"),
        ((307, {"Location": "/again"}, b""), "TooManyRedirects"),
    ],
    ids=str,
)
def test_what_is_no_answer_is_no_missing_model(hub: FakeHub, answer: Any, says: str) -> None:
    hub.instead = answer
    found = told(hub, token="mine")
    assert (found.facts, found.fault) == (None, None)
    assert says in found.notes[0]
    assert "HF_ENDPOINT" in found.notes[0]


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9", "http://[", "ftp://x", "no", "http://me:secret@127.0.0.1:9", "http://x:99999"]
)  # fmt: skip
def test_an_address_that_leads_nowhere_is_told_without_its_password(endpoint: str) -> None:
    answer = Hub(HubClient(endpoint)).look_up("a/b", None, patience=20)
    assert "tells nothing of the model" in answer.notes[0]
    assert "secret" not in answer.notes[0]


def test_nobody_waits_for_a_hub_that_hangs_and_its_answer_serves_the_next(hub: FakeHub) -> None:
    hub.repositories["me/llama"] = hub.repositories["me/other"] = Repository()
    hub.go_on.clear()
    asking = Hub(HubClient(hub.endpoint), now=Clock())
    assert "did not answer within 0.01 s" in asking.look_up("me/llama", None, 0.01).notes[0]
    until(lambda: hub.asked)
    assert "did not answer" in asking.look_up("me/other", None, 20).notes[0]
    assert len(hub.asked) == 1
    hub.go_on.set()
    until(lambda: asking.look_up("me/llama", None, 20).facts is not None)
    assert asking.look_up("me/other", None, 20).facts is not None


def test_an_answer_is_remembered_and_outlives_a_silence(hub: FakeHub) -> None:
    hub.repositories["me/llama"] = Repository()
    clock = Clock()
    asking = Hub(HubClient(hub.endpoint), now=clock)
    first = asking.look_up("me/llama", None, 20)
    assert asking.look_up("me/llama", None, 20) is first
    assert len(hub.asked) == 2
    hub.instead = 503, {}, b""
    clock.at += FRESH_SECONDS
    assert asking.look_up("me/llama", None, 20) is first
    assert asking.look_up("me/other", None, 20).facts is None
    assert len(hub.asked) == 3
    hub.instead = None
    clock.at += SILENT_SECONDS
    assert asking.look_up("me/llama", None, 20).facts == first.facts
    assert len(hub.asked) == 4  # the configuration of a commit is asked for once


def test_many_who_ask_at_once_are_one_question(hub: FakeHub) -> None:
    hub.repositories["me/llama"] = Repository()
    hub.go_on.clear()
    asking = Hub(HubClient(hub.endpoint))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(asking.look_up, "me/llama", None, 20) for _ in range(8)]
        until(lambda: bool(hub.asked))
        hub.go_on.set()
    assert all(answer.result().facts for answer in answers)
    assert len(hub.asked) == 2


@pytest.mark.parametrize("value", ODD, ids=str)
def test_no_value_that_a_hub_tells_does_harm(hub: FakeHub, value: Any, monkeypatch: Any) -> None:
    repository = hub.repositories["me/llama"] = Repository()
    whole = repository.info("me/llama")
    before = threading.active_count()
    for name in (*whole, "parameters", "dtype", "file", "size"):
        odd: Any = {
            "parameters": {"safetensors": {"parameters": value}},
            "dtype": {"safetensors": {"parameters": {"BF16": value}}},
            "file": {"siblings": [value, {"rfilename": value}]},
            "size": {"safetensors": None, "siblings": [{"rfilename": "model.safetensors", "size": value}]},
        }.get(name, {name: value})
        monkeypatch.setattr(Repository, "info", lambda *_, told=whole | odd: told)
        assert told(hub).fault is None
    repository.config = value
    assert told(hub).fault is None
    until(lambda: threading.active_count() <= before)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\xff" * 100,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10**6 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 302 -\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 -\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (MOST_INFO_BYTES + 1),
        b"HTTP/1.1 404 -\r\nX-Error-Code: \x1b[31m" + b"e" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=lambda answer: repr(answer[:60]),
)
def test_whatever_is_sent_instead_is_a_note_of_one_line(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_send, args=(server, answer), daemon=True).start()
        client = HubClient(f"http://127.0.0.1:{server.getsockname()[1]}")
        found = Hub(client).look_up("a/b", None, patience=20)
    assert (found.facts, found.fault, len(found.notes)) == (None, None, 1)
    assert len(found.notes[0]) < 300
    assert found.notes[0].isprintable()


def _send(server: socket.socket, answer: bytes) -> None:
    asking, _ = server.accept()
    with asking, suppress(OSError):
        asking.recv(65536)
        asking.sendall(answer)
