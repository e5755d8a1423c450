"""The routes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, File, Query, Request, UploadFile
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mla_extend import __version__
from mla_extend.errors import DataError, LanguageError, MlaExtendError
from mla_extend.search.searcher import AUTO, Searcher
from mla_extend.serve.answers import Fault, Found, Health, Languages, Texts, Vectors, found
from mla_extend.serve.guard import Guard
from mla_extend.serve.languages import languages_of
from mla_extend.serve.limits import Limits
from mla_extend.serve.pictures import NoPicture, Pictures, TooLarge, read_query
from mla_extend.serve.queries import Busy, Queries, as_exception
from mla_extend.wrong_values import wrong

T = TypeVar("T")

PAGE = Path(__file__).parent / "page"
ASSETS = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
KEPT = {"cache-control": "private, max-age=300"}
"""Of pictures: an index that was made anew may give a key to another image."""
APART = {"content-security-policy": "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"}
"""Of files of the index: whatever they hold, a browser runs nothing of it."""
FAULTS: dict[int | str, dict[str, Any]] = {
    code: {"model": Fault} for code in (400, 403, 404, 408, 413, 421, 422, 500, 503)
}
TOP = 24
Key = Annotated[int, InPath(ge=0, lt=1 << 63, description="The image's number in the index.")]


def create_app(searcher: Searcher, limits: Limits, hosts: frozenset[str] | None) -> ASGIApp:
    """Return the application, behind its guard.

    Args:
        searcher: an index with its model.
        limits: what requests are held to.
        hosts: names that a request may ask for in its Host header; `None`: any.
    """
    work = _Work(searcher, limits)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(work.close)

    app = FastAPI(
        title="mla-extend",
        version=__version__,
        description="Search images in the languages of a registry.",
        docs_url=None,  # its page, and the other one, are loaded from another host
        redoc_url=None,
        lifespan=life,
        responses=FAULTS,
    )
    _add_faults(app)
    _add_search(app, work)
    _add_about(app, work)
    _add_pictures(app, work)
    _add_page(app)
    return Guard(app, limits, hosts)


class _Work:
    """What the routes work with: text queries in a thread of their own, so that nothing slow stands before them."""

    def __init__(self, searcher: Searcher, limits: Limits) -> None:
        self.searcher = searcher
        self.limits = limits
        self.queries = Queries(searcher, limits)
        self.pictures = Pictures(searcher.index, limits)
        self.opened = asyncio.Semaphore(limits.opened)
        self._encoding = ThreadPoolExecutor(1, "encoding")
        self._drawing = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "drawing")

    async def encode(self, function: Callable[[], T]) -> T:
        """Run what encodes images or many texts; one at a time."""
        return await _run_in(self._encoding, function)

    async def draw(self, function: Callable[[], T]) -> T:
        """Run what reads files."""
        return await _run_in(self._drawing, function)

    def vectors(self, texts: list[str], languages: str | list[str]) -> Vectors:
        """Encode texts."""
        tags = [languages] * len(texts) if isinstance(languages, str) else languages
        if len(tags) != len(texts):
            raise DataError(
                f"There are {len(texts)} texts and {len(tags)} languages. Give one language, or one per text."
            )
        chosen, vectors = self.queries.embed(texts, tags)
        base = self.searcher.model.base.identity
        return Vectors(
            base=base.name,
            fingerprint=base.fingerprint,
            dimension=len(vectors[0]),
            languages=chosen,
            vectors=vectors,
        )

    def close(self) -> None:
        """End the threads."""
        self.queries.close()
        self._encoding.shutdown(cancel_futures=True)
        self._drawing.shutdown(cancel_futures=True)


async def _run_in(threads: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    def contained() -> T:
        try:
            return function()
        except BaseException as error:
            raise as_exception(error) from error

    return await asyncio.get_running_loop().run_in_executor(threads, contained)


def _add_search(app: FastAPI, work: _Work) -> None:
    limits = work.limits

    @app.get("/search")
    async def search(
        q: Annotated[str, Query(max_length=limits.characters, description="What to look for.")],
        lang: Annotated[str, Query(max_length=64, description="A language's tag, or auto.")] = AUTO,
        top: Annotated[int, Query(ge=1, le=limits.top, description="Images wanted.")] = TOP,
    ) -> Found:
        """Find the images that a text describes."""
        return found(await asyncio.wrap_future(work.queries.ask(q, lang, top)))

    @app.post("/search")
    async def search_by_image(
        image: Annotated[UploadFile, File(description="The picture.")],
        top: Annotated[int, Query(ge=1, le=limits.top, description="Images wanted.")] = TOP,
    ) -> Found:
        """Find the images that look like a picture."""
        content = await image.read()
        async with work.opened:
            opened = await work.draw(lambda: read_query(content, limits.pixels))
            return found(await work.encode(lambda: work.searcher.search_image(opened, top)))

    @app.post("/embed")
    async def embed(body: Texts) -> Vectors:
        """Encode texts."""
        if len(body.texts) > limits.texts:
            raise DataError(f"There are {len(body.texts)} texts, and at most {limits.texts} are encoded. Send fewer.")
        longest = max(map(len, body.texts))
        if longest > limits.characters:
            raise DataError(
                f"A text has {longest:,} characters, and at most {limits.characters:,} are encoded. Shorten it."
            )
        return await work.encode(lambda: work.vectors(body.texts, body.languages))


def _add_about(app: FastAPI, work: _Work) -> None:
    model, index = work.searcher.model, work.searcher.index

    @app.get("/languages")
    async def languages() -> Languages:
        """Tell which languages can be searched in, how good they are, and what they were made from."""

        def read() -> Languages:
            work.queries.refresh()
            return Languages(
                base=model.base.identity.name,
                native=model.native,
                images=index.count,
                languages=languages_of(work.searcher),
            )

        return await work.draw(read)

    @app.get("/health")
    async def health() -> Health:
        """Tell whether queries are answered."""
        return Health(
            status="ok" if work.queries.alive else "failing",
            base=model.base.identity.name,
            images=index.count,
            languages=len(model.languages),
            restarts=work.queries.restarts,
        )


def _add_pictures(app: FastAPI, work: _Work) -> None:
    @app.get("/images/{key}", response_class=FileResponse)
    async def image(key: Key) -> FileResponse:
        """Give a file of the index."""
        path, kind, name = await work.draw(lambda: work.pictures.whole(key))
        return FileResponse(
            path, media_type=kind, filename=name, content_disposition_type="inline", headers={**KEPT, **APART}
        )

    @app.get("/thumbnails/{key}", response_class=Response)
    async def thumbnail(key: Key) -> Response:
        """Give a small picture of a file of the index."""
        content = await work.draw(lambda: work.pictures.small(key))
        return Response(content, media_type="image/webp", headers=KEPT)


def _add_page(app: FastAPI) -> None:
    def give(name: str, kind: str) -> Callable[[], Any]:
        async def asset() -> FileResponse:
            return FileResponse(PAGE / name, media_type=kind, headers={"cache-control": "no-cache"})

        return asset

    app.get("/", include_in_schema=False)(give("index.html", "text/html"))
    for name, kind in ASSETS.items():
        app.get(f"/{name}", include_in_schema=False)(give(name, kind))


def _add_faults(app: FastAPI) -> None:
    """Answer every fault with one line of JSON."""

    def fault(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": text}, status, headers)

    @app.exception_handler(MlaExtendError)
    async def known(_request: Request, error: MlaExtendError) -> JSONResponse:
        status = next((code for kind, code in STATUS if isinstance(error, kind)), HTTPStatus.SERVICE_UNAVAILABLE)
        return fault(status, str(error), {"retry-after": "1"} if isinstance(error, Busy) else None)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return fault(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(map(_line, error.errors())))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        status, text = error.status_code, error.detail
        if status == HTTPStatus.NOT_FOUND:
            text = f"There is nothing at {request.url.path[:200]}. The routes are in /openapi.json."
        elif status == HTTPStatus.BAD_REQUEST:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            text = f"The body cannot be read ({text}). Send JSON in UTF-8, or a form with the file `image`."
        return fault(status, text, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unknown(_request: Request, _error: Exception) -> JSONResponse:
        return fault(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed in the server. Its log says what.")


STATUS: tuple[tuple[type[MlaExtendError], int], ...] = (
    (NoPicture, HTTPStatus.NOT_FOUND),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (LanguageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DataError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
"""What each kind of error is to a client; any other is the server's own, such as a damaged language."""


def _line(problem: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
    return f"{where}: {wrong(problem)}"
