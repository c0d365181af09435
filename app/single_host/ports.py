"""Whether a port is there to be had."""

from __future__ import annotations

import socket
from collections.abc import Callable

from app.errors import LocalStartError
from app.single_host.stopping import StopRequest

PATIENCE_SECONDS = 1.0
ANY = 0


def check_port_is_free(host: str, port: int, request: StopRequest | None = None) -> None:
    """LocalStartError unless we could listen there; a service that was just killed gets a second to let go."""
    request = request or StopRequest()
    if not request.wait_until(_free(host, port), PATIENCE_SECONDS):
        raise LocalStartError(f"port {port} on {host} is taken: choose another with --port")


def free_port(host: str = "127.0.0.1", wanted: int = ANY) -> int:
    """The wanted port, or another where it is taken."""
    for port in (wanted, ANY):
        with socket.socket() as probe:
            if _bound(probe, (host, port)):
                return int(probe.getsockname()[1])
    raise LocalStartError(f"no port is free on {host}")


def _free(host: str, port: int) -> Callable[[], bool]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise LocalStartError(f"{host} is no address of this machine: {error.strerror}") from error

    def free() -> bool:
        with socket.socket(family) as probe:
            return _bound(probe, address)

    return free


def _bound(probe: socket.socket, address: object) -> bool:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(address)  # type: ignore[arg-type]
    except OSError:
        return False
    return True
