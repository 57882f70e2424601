"""What the tests have in common: one real server, and clients of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import futurity
from futurity.testing import Server, worker_config
from tests.gate import Gate
from tests.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from futurity import Client
    from futurity.local import LocalExecutor


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server(arguments=["--allow-loopback-egress"]) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as made:
        yield made


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    with Relay(server.url) as made:
        yield made


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    """An executor with a server and two processes of its own."""
    with futurity.local(2) as made:
        yield made


@pytest.fixture(scope="module")
def remote() -> Iterator[Server]:
    """A server with two processes for pickled calls, to which nobody needs a key."""
    with Server(config=worker_config(2)) as running:
        yield running


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.close()
