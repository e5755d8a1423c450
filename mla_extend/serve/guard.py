"""What stands in front of the routes: whom it answers, how much it reads, how long it waits, which headers it adds."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from mla_extend.serve.limits import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names under which a server on the loopback is asked for; a page elsewhere whose name was pointed here has another."""
SECURITY = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
DRAINED = 4
"""A body that is at most so many times too large is read to its end, so that the client gets to read the answer."""


class Refused(Exception):  # noqa: N818 - a status, not a fault
    """Answer with a status and one line."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Wrap an ASGI application; every refusal is JSON, `{"error": "..."}`, in one line."""

    def __init__(self, app: App, limits: Limits, hosts: frozenset[str] | None) -> None:
        """Guard an application.

        Args:
            app: what answers.
            limits: what it is held to.
            hosts: names that a request may ask for in its Host header; `None`: any.
        """
        self.app = app
        self.limits = limits
        self.hosts = hosts
        self._running = 0
        self._held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        held = 0
        try:
            self._check_sender(dict(scope["headers"]))
            body = await self._body(dict(scope["headers"]), receive)
            held = len(body)
            self._held += held
            await self._run(scope, _Replay(body, receive), answer)
        except Refused as refused:
            await answer.refuse(refused.status, str(refused))
        finally:
            self._held -= held

    def _check_sender(self, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and _without_port(host) not in self.hosts:
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"This server answers on this machine alone, not as {host[:100]!r}. Ask for localhost, or start it "
                "with --host.",
            )
        site, mode = headers.get(b"sec-fetch-site", b"none"), headers.get(b"sec-fetch-mode")
        if site not in (b"none", b"same-origin") and mode != b"navigate":
            raise Refused(HTTPStatus.FORBIDDEN, "Another site's page may not use this server.")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the whole body, so that what is slow or too large never reaches a route."""
        most = self.limits.body_bytes
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > DRAINED * most:
            raise self._too_large()
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self.limits.seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(HTTPStatus.BAD_REQUEST, "The request ended before its body did.")
                    part, more = message.get("body", b""), message.get("more_body", False)
                    size += len(part)
                    if size <= most:
                        parts.append(part)
                    elif size > DRAINED * most:
                        break
        except TimeoutError as error:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT, f"The request's body did not arrive within {self.limits.seconds:g} s."
            ) from error
        if size > most:
            raise self._too_large()
        if self._held + size > self.limits.bodies_bytes:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "The server holds too many large requests. Try again soon.")
        return b"".join(parts)

    def _too_large(self) -> Refused:
        most = self.limits.body_bytes / (1 << 20)
        return Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is larger than {most:g} MiB. Send a smaller image."
        )

    async def _run(self, scope: Message, receive: Receive, answer: "_Answer") -> None:
        if self._running >= self.limits.requests:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy. Try again in a moment.")
        self._running += 1
        try:
            async with asyncio.timeout(self.limits.seconds) as clock:
                # A long download by a slow client is no slow answer.
                answer.on_start = lambda: clock.reschedule(None)
                await self.app(scope, receive, answer)
        except TimeoutError as error:
            if answer.started:
                raise
            answer.on_start = lambda: None
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE, f"The answer took longer than {self.limits.seconds:g} s. Try again."
            ) from error
        finally:
            self._running -= 1


class _Answer:
    """Send, with the security headers that the answer does not set itself."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.on_start: Callable[[], None] = lambda: None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.on_start()
            own = {name.decode("latin-1").lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in SECURITY.items() if name not in own),
            ]
        await self._send(message)

    async def refuse(self, status: HTTPStatus, text: str) -> None:
        headers = {"content-type": "application/json", "connection": "close"}
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = "1"
        body = json.dumps({"error": text}, ensure_ascii=False).encode()
        headers["content-length"] = str(len(body))
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": int(status), "headers": raw})
        await self._send({"type": "http.response.body", "body": body})


class _Replay:
    """Give a body that was read already, then what the connection says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def is_loopback(host: str) -> bool:
    """Say whether a server bound to this host is reached from this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")
