"""Connections: kept, replaced, bounded in time, by TLS and by proxies, not shared with a child."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import trustme

from futurity import Client, Problem, ServerLost
from futurity.http import Request, Transport
from futurity.testing import Server
from tests.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_connection_is_kept_and_threads_have_their_own(relay: Relay) -> None:
    client = Client(relay.url)
    for _ in range(5):
        client.submit("echo", [1])
    assert relay.connections == 1
    gates = [client.submit_manual().id for _ in range(4)]
    together = threading.Barrier(5)

    def wait(gate: str) -> object:
        together.wait()
        return client.result(gate, timeout=30)

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(wait, gate) for gate in gates]
        together.wait()
        for gate in gates:
            client.complete(gate, gate)
        assert [one.result() for one in waiting] == gates
    before = relay.connections
    client.submit("echo", [1])
    assert relay.connections == before


def test_a_kept_connection_that_breaks_is_replaced(relay: Relay) -> None:
    client = Client(relay.url)
    first = client.submit("echo", [1])
    relay.cut()
    assert client.get(first.id, wait=10).done
    assert relay.connections == 2


def test_a_connection_that_breaks_during_a_submission_makes_no_second_job(server: Server) -> None:
    """The answer is lost, and nobody knows what came of it; the same id again is the same job."""
    with server.client() as direct, Relay(server.url) as relay:
        client = Client(relay.url)
        client.submit("echo", [0])
        gate = direct.submit_manual(tags=["cut"])
        waiting = threading.Thread(target=client.get, args=(gate.id,), kwargs={"wait": 20}, daemon=True)
        waiting.start()
        direct.complete(gate.id, 1)
        waiting.join()
        job = client.submit("echo", [1], tags=["cut"], wait=10)
        relay.cut()
        assert client.submit("echo", [1], id=job.id, tags=["cut"]).id == job.id
        assert len(list(direct.jobs(tag="cut"))) == 2


def test_a_stream_that_is_cut_goes_on_where_it_was(server: Server, relay: Relay) -> None:
    with server.client() as direct:
        gates = [direct.submit_manual().id for _ in range(3)]
        given = Client(relay.url).as_completed(gates)
        seen: list[str] = []
        for gate in gates:
            direct.complete(gate, gate)
            seen.append(next(given).id)
            relay.cut()
        assert list(given) == []
        assert seen == gates


def test_a_stream_outlives_a_restart_of_the_server() -> None:
    with Server() as server, server.client() as client:
        first, second = client.submit_manual().id, client.submit_manual().id
        given = client.as_completed([first, second])
        client.complete(first, 1)
        assert next(given).id == first
        server.restart()
        client.complete(second, 2)
        assert [job.id for job in given] == [second]


@pytest.fixture
def drips() -> Iterator[str]:
    """A peer that sends a byte of its answer again and again, and never ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
                while not over.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()


def test_an_answer_that_drips_has_an_end(drips: str) -> None:
    with pytest.raises(ServerLost, match="in time"):
        Client(drips, timeout=0.2).get("x")


def test_a_peer_that_says_nothing_has_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ServerLost, match="in time"):
            Client(url, timeout=0.05).get("x")
        with pytest.raises(ServerLost, match="in time"):
            next(iter(Client(url, timeout=0.05).as_completed([])))


def test_a_stream_that_another_thread_closes_wakes_its_reader(server: Server) -> None:
    transport = Transport(server.url, key=None, timeout=30)
    stream = transport.stream(Request("GET", "/v1/events"))
    assert stream.read_some().startswith(b"retry")
    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(stream.read_some)
        stream.close()
        assert isinstance(reader.exception(30), ServerLost) or reader.result() == b""


@pytest.fixture
def authority(tmp_path: object) -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def test_tls_checks_the_certificate_and_carries_streams_both_ways(server: Server, authority: trustme.CA) -> None:
    with Relay(server.url, tls=tls_of(authority, "127.0.0.1")) as relay:
        with pytest.raises(ServerLost, match="certificate"):
            Client(relay.url).get("x")
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]
        client = Client(relay.url, ssl_context=trusting)
        assert client.result(client.submit("echo", ["ü" * 100_000]).id, timeout=30) == "ü" * 100_000
        calls = ([n] for n in range(500))
        assert sum(item.result for item in client.map("echo", calls, buffersize=50)) == sum(range(500))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    scheme: str, server: Server, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    tls = tls_of(authority, "futurity.example") if scheme == "https" else None
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]
    with Relay(server.url, tls=tls, is_proxy=True) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
        client = Client(f"{scheme}://futurity.example:1234", ssl_context=trusting)
        assert client.is_alive()
        head = proxy.heads[0].decode()
        target = "CONNECT futurity.example:1234 " if scheme == "https" else "GET http://futurity.example:1234/livez "
        assert head.startswith(target)
        assert "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in head
        with pytest.raises(Problem) as refused:
            client.functions()
        assert refused.value.code == "misdirected", "the server was asked by the name in the URL"
        with server.client() as direct:
            assert direct.is_alive()
        assert proxy.connections == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_makes_connections_of_its_own(relay: Relay) -> None:
    client = Client(relay.url)
    client.submit("echo", [1])
    child = os.fork()
    if child == 0:
        os._exit(0 if client.submit("echo", [2], wait=10).result == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert relay.connections == 2
    assert client.submit("echo", [3], wait=10).result == 3
    assert relay.connections == 2, "that of the parent is as it was"


def test_an_answer_of_something_else_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for body in (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 5\r\n\r\n<htm>", b"SSH-2.0-x\r\n"):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Problem, match="no Futurity server: <htm>"):
            client.get("x")
        client.close()
        with pytest.raises(ServerLost, match="SSH"):
            client.get("x")
        thread.join()
