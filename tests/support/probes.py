"""What tests ask of processes from the outside: whether they answer, and where a port is free."""

import json
import os
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chaos import ports
from chaos.ports import HOST as HOST


def until(
    condition: Callable[[], object],
    *,
    within: float,
    what: str,
    show: Callable[[], str] = lambda: "",
    every: float = 0.05,
) -> None:
    """Polls until `condition` is true; after so many seconds fails with `what` was expected and what `show` gives."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}\n{show()}")
        time.sleep(every)


# Tests that run side by side take their ports from ranges of their own: what one has stopped the other does not take.
_PORTS = 5_000
_FIRST_PORT = 10_000 + _PORTS * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)


def free_port() -> int:
    """A free port of this worker's."""
    return ports.free_port(range(_FIRST_PORT, _FIRST_PORT + _PORTS))


def need_binary(path: str) -> str:
    """The path when it is there; otherwise the test is skipped on a laptop and fails in CI."""
    if not Path(path).exists():
        reason = f"{path} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def answers_http(url: str) -> bool:
    """Whether GET answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def readiness(url: str) -> dict[str, Any]:
    """What a gateway's /readyz says; "status" is "away" when it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=3) as answer:
            said: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        said = json.load(error)
    except (urllib.error.URLError, OSError) as error:
        return {"status": "away", "why": str(error)}
    return said


def is_whole(url: str) -> bool:
    """Whether a gateway says that journal, broker, reader, database and notices are all well."""
    return bool(readiness(url)["status"] == "ready")


def answers_grpc(address: str) -> bool:
    """Whether a gRPC service answers and says SERVING; one without a health service counts."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError as error:
            code: Any = error
            return bool(code.code() is grpc.StatusCode.UNIMPLEMENTED)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def answers_mqtt(address: str) -> bool:
    """Whether a broker accepts an MQTT 3.1.1 connection."""
    host, _, port = address.rpartition(":")
    identifier = f"harness-{random.getrandbits(32):08x}".encode()
    body = b"\0\4MQTT\4\2\0\x3c" + len(identifier).to_bytes(2, "big") + identifier
    try:
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.sendall(b"\x10" + bytes([len(body)]) + body)
            accepted = connection.recv(4) == b"\x20\x02\0\0"
            connection.sendall(b"\xe0\0")
            return accepted
    except OSError:
        return False
