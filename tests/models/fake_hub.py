"""A hub for tests: the paths, bodies and headers of the real one, as huggingface_hub's sources know them.

It is a fake, at the outermost edge: an HTTP server of this process. What it answers follows `HfApi.model_info` with
`files_metadata=True`, `hf_hub_url` and `hf_raise_for_status`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
    "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
}  # fmt: skip
LLAMA_PARAMETERS = 8_030_261_248


@dataclass
class Repository:
    """One model, on every revision the same."""

    config: Any = field(default_factory=lambda: dict(LLAMA))
    safetensors: Any = field(default_factory=lambda: {"parameters": {"BF16": LLAMA_PARAMETERS}})
    files: dict[str, int] = field(
        default_factory=lambda: {"model-00001-of-00001.safetensors": 16_060_556_376}
    )
    gated: Any = False
    private: bool = False
    revisions: tuple[str, ...] = ("main", COMMIT)
    readers: tuple[str, ...] = ()
    """Tokens that may read what is gated or private."""

    def info(self, name: str) -> dict[str, Any]:
        """As the hub's API tells of it; of a configuration it tells a part."""
        part = self.config if isinstance(self.config, dict) else {}
        files = self.files | ({"config.json": 700} if self.config is not None else {})
        return {
            "id": name,
            "sha": COMMIT,
            "private": self.private,
            "gated": self.gated,
            "config": {key: part[key] for key in ("architectures", "model_type") if key in part},
            "safetensors": self.safetensors,
            "siblings": [{"rfilename": file, "size": size, "blobId": "0"} for file, size in files.items()],
        }


class FakeHub:
    """What it has, what it was asked, and how it answers whatever it is asked where it is not well."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.instead: tuple[int, dict[str, str], bytes] | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.endpoint = ""

    def answer(self, path: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body."""
        self.asked.append(path)
        self.tokens.append(token)
        self.go_on.wait(10)
        if self.instead is not None:
            return self.instead
        parts = urlsplit(path).path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, _, revision = "/".join(parts[2:]).partition("/revision/")
            return self._info(name, unquote(revision) or "main", token)
        name, _, rest = "/".join(parts).partition("/resolve/")
        return self._file(name, rest.partition("/")[0], token)

    def _info(self, name: str, revision: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        found = self.repositories.get(name)
        if found is None or (found.private and token not in found.readers):
            return (404 if token else 401), {"X-Error-Code": "RepoNotFound"}, b"{}"
        if revision not in found.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        return 200, {}, json.dumps(found.info(name)).encode()

    def _file(self, name: str, revision: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        found = self.repositories[name]
        if found.gated and token not in found.readers:
            return (403 if token else 401), {"X-Error-Code": "GatedRepo"}, b""
        assert revision == COMMIT
        body = found.config if isinstance(found.config, bytes) else json.dumps(found.config).encode()
        return 200, {}, body


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """One that runs meanwhile."""
    hub = FakeHub()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization")
            status, headers, body = hub.answer(self.path, authorization and authorization.split()[-1])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who asked did not wait."""

    server = Server(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
