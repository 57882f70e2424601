"""What the tests have in common: one real server, and clients of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from futurity.testing import Server
from tests.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from futurity import Client


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
