"""What the server answers, as OpenAPI says it too."""

from typing import Any

from pydantic import BaseModel, Field

from mla_extend.search import searcher as search


class Fault(BaseModel):
    """Say what was wrong, in one line."""

    error: str


class HitOut(BaseModel):
    """One image found."""

    rank: int = Field(description="From 1, the best.")
    key: int = Field(description="The image's number in the index.")
    score: float = Field(description="Cosine of the query and the image.")
    language: str = Field(description="The language of the search that found it; empty for a picture query.")
    name: str = Field(description="The file's name without its folder, or its name in an imported list.")
    width: int = Field(description="Pixels; 0 where unknown.")
    height: int
    bytes: int
    image: str | None = Field(description="Where the file is served; null where the index has a vector alone.")
    thumbnail: str | None = Field(description="Where a small picture of it is served.")


class Found(BaseModel):
    """What a query found, best first."""

    query: str = Field(description="The text as searched; empty for a picture query.")
    languages: list[str] = Field(description="The languages searched; two if detection was unsure.")
    confidence: float | None = Field(description="The probability of the first, if it was detected.")
    sure: bool
    seconds: float
    hits: list[HitOut]


class Texts(BaseModel):
    """Texts to encode."""

    texts: list[str] = Field(min_length=1)
    languages: str | list[str] = Field(default="auto", description="One code for all texts, one per text, or auto.")


class Vectors(BaseModel):
    """Unit vectors of texts, in the space of the base's images."""

    base: str
    fingerprint: str
    dimension: int
    languages: list[str] = Field(description="Which language each text was encoded in.")
    vectors: list[list[float]]


class LanguageOut(BaseModel):
    """One language that can be searched in."""

    language: str = Field(description="Its BCP-47 tag.")
    name: str
    native: bool = Field(description="Whether it is the base's own.")
    version: str | None = None
    created: str | None = None
    parameters: int | None = None
    bytes: int | None = None
    test_set: str | None = None
    quality: list[dict[str, Any]] = Field(
        default=[], description="For each split: its size, recalls with intervals, and their ratio to the native ones."
    )
    data: list[dict[str, Any]] = Field(default=[], description="What it was made from, with rows and licence.")
    noncommercial: bool = False
    licence: str | None = Field(default=None, description="The base's, for the native language.")
    problem: str | None = Field(default=None, description="Why it, or its newest version, cannot be used or detected.")


class Languages(BaseModel):
    """All languages, the native one first."""

    base: str
    native: str
    images: int
    languages: list[LanguageOut]


class Health(BaseModel):
    """Whether queries are answered (`ok` or `failing`), with what, and how often answering was begun again."""

    status: str
    base: str
    images: int
    languages: int
    restarts: int


def found(answer: search.Answer) -> Found:
    """Return an answer as it is sent: with addresses in place of paths."""
    return Found(**vars(answer) | {"hits": [_hit(hit) for hit in answer.hits]})


def _hit(hit: search.Hit) -> HitOut:
    there = hit.entry.path is not None
    return HitOut(
        rank=hit.rank,
        key=hit.key,
        score=hit.score,
        language=hit.language,
        name=hit.entry.path.name if hit.entry.path is not None else hit.entry.name,
        width=hit.entry.width,
        height=hit.entry.height,
        bytes=hit.entry.bytes,
        image=f"/images/{hit.key}" if there else None,
        thumbnail=f"/thumbnails/{hit.key}" if there else None,
    )
