"""Serve an index: bind, open, say where, and answer until stopped."""

import asyncio
import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from mla_extend.errors import DataError
from mla_extend.extras import optional
from mla_extend.platform import WINDOWS
from mla_extend.progress import SILENT, Progress
from mla_extend.search.searcher import Searcher, open_index
from mla_extend.serve.limits import Limits

for _library in ("fastapi", "uvicorn"):
    optional(_library, "The server")

import uvicorn  # noqa: E402
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402

from mla_extend.serve.app import create_app  # noqa: E402

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names under which a server on the loopback is asked for; a page elsewhere whose name was pointed here has another."""
BACKLOG = 512
GRACE = 5
"""Seconds that a request in progress has to end when the server is stopped."""


@dataclass(frozen=True)
class Service:
    """Hold what is served and where; clients that come before `run` wait.

    Attributes:
        url: the page's address.
        searcher: an index with its model.
        listening: the socket.
        server: what answers.
    """

    url: str
    searcher: Searcher
    listening: socket.socket
    server: uvicorn.Server

    def run(self) -> None:
        """Answer until the process is told to stop."""
        with self.listening:
            self.server.run(sockets=[self.listening])


def open_service(
    index: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    base: str | None = None,
    registry: str | Path | None = None,
    device: str = "auto",
    limits: Limits | None = None,
    progress: Progress = SILENT,
) -> Service:
    """Bind an address and open an index to serve there.

    Args:
        index: its folder.
        host: where to listen; names other than the loopback's let other machines in.
        port: on which port; 0 takes a free one.
        base: what the queries are encoded with, as for `load_model`.
        registry: where the languages are.
        device: as for `load_model`.
        limits: what requests are held to.
        progress: told of a base that has to be built or fetched first.

    Raises:
        DataError: the port is taken, there is no such host, or there is no index.
        BaseMismatchError: the index was made with another base.
    """
    # A few short texts are cut into pieces sooner than threads are woken for it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    listening = listen(host, port)
    try:
        searcher = open_index(index, base=base, registry=registry, device=device, progress=progress)
    except BaseException:
        listening.close()
        raise
    return serve_searcher(searcher, listening, host, limits or Limits())


def serve_searcher(searcher: Searcher, listening: socket.socket, host: str, limits: Limits) -> Service:
    """Return what serves an index that is open on a socket that is bound."""
    config = uvicorn.Config(
        create_app(searcher, limits, allowed_hosts(host)),
        http=_protocol(limits),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(limits.header_seconds),
        timeout_graceful_shutdown=GRACE,
    )
    return Service(address(host, listening), searcher, listening, uvicorn.Server(config))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        DataError: it is taken, or is none of this machine's.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise DataError(f"Cannot listen on the host {host!r} ({error}). Give --host 127.0.0.1.") from error
    try:
        if not WINDOWS:  # where it would take a port from another process
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
        bound.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        raise DataError(
            f"{host}, port {port}, cannot be listened on ({getattr(error, 'strerror', None) or error}). Give another "
            "--port (0 takes a free one) or --host."
        ) from error
    return bound


def address(host: str, listening: socket.socket) -> str:
    """Return the URL of a server for people."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}/"


def allowed_hosts(host: str) -> frozenset[str] | None:
    """Return the names that requests may ask for; `None`, for a server that other machines reach: any."""
    host = host.lower()
    try:
        local = ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = host == "localhost"
    return LOCAL_NAMES | {host, f"[{host}]"} if local else None


def _protocol(limits: Limits) -> type[H11Protocol]:
    """Return HTTP/1.1 that hangs up on who does not come to the end of a request's headers in time."""

    class Impatient(H11Protocol):
        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._clock is None:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._clock = self.loop.call_later(limits.header_seconds, self.transport.close)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

    return Impatient
