"""What stands in front of the routes: whom it answers, how much it reads, how long it waits, which headers it adds."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mla_extend.serve.limits import Limits

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


class Guard:
    """Wrap an ASGI application; every refusal is JSON, `{"error": "..."}`, in one line."""

    def __init__(self, app: ASGIApp, limits: Limits, hosts: frozenset[str] | None) -> None:
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def replay() -> Message:
                return first.pop() if first else await receive()

            await self._run(scope, replay, answer)
        except HTTPException as refused:
            headers = {"connection": "close"}
            if refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                headers["retry-after"] = "1"
            await JSONResponse({"error": refused.detail}, refused.status_code, headers)(scope, receive, answer)
        finally:
            self._held -= held

    def _check_sender(self, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and _without_port(host) not in self.hosts:
            raise HTTPException(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"This server does not answer to the host name {host[:100]!r}. Use localhost, or start it with --host.",
            )
        site, mode = headers.get(b"sec-fetch-site", b"none"), headers.get(b"sec-fetch-mode")
        if site not in (b"none", b"same-origin") and mode != b"navigate":
            raise HTTPException(HTTPStatus.FORBIDDEN, "Requests from other sites' pages are refused.")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the whole body, so that what is slow or too large never reaches a route."""
        most = self.limits.body_bytes
        parts: list[bytes] = []
        declared = headers.get(b"content-length", b"")
        size, more = 0, True
        if declared.isdigit() and int(declared) > DRAINED * most:
            size, more = int(declared), False
        try:
            async with asyncio.timeout(self.limits.seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise HTTPException(HTTPStatus.BAD_REQUEST, "The request ended before its body did.")
                    part, more = message.get("body", b""), message.get("more_body", False)
                    size += len(part)
                    if size <= most:
                        parts.append(part)
                    elif size > DRAINED * most:
                        break
        except TimeoutError as error:
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT, f"The request's body did not arrive within {self.limits.seconds:g} s."
            ) from error
        if size > most:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The request is larger than {most / (1 << 20):g} MiB. Send a smaller image.",
            )
        if self._held + size > self.limits.bodies_bytes:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, "The server has too many large requests at once. Try again soon."
            )
        return b"".join(parts)

    async def _run(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        if self._running >= self.limits.requests:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy. Try again in a moment.")
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
            raise HTTPException(
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


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")
