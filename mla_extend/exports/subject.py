"""What is exported: a language of an open model, and what every export records about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mla_extend import __version__
from mla_extend.data.codes import language_tag
from mla_extend.exports.hub_tokenizer import HubTokenizer, hub_tokenizer
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.summary import split_version

IMAGES = "images"


@dataclass(frozen=True)
class Subject:
    """Hold a model, and the language of it, or `images`, that is exported."""

    model: RegistryModel
    tag: str

    @classmethod
    def of(cls, model: RegistryModel, language: str) -> "Subject":
        """Return a language, or one of its versions as `split_version` takes it, loaded.

        Raises:
            LanguageError: there is no such language.
        """
        if language == IMAGES:
            return cls(model, IMAGES)
        code, wanted = split_version(language)
        tag = language_tag(code)
        if wanted is not None and model.registry is not None:
            model.load_version(model.registry.find(tag, wanted))
        model.require(tag)
        return cls(model, tag)

    @property
    def native(self) -> bool:
        """Say whether it is the base's own language."""
        return self.tag == self.model.native

    @property
    def version_folder(self) -> Path | None:
        """Return where the version lies; the base's own language has none."""
        name = self.model.version(self.tag)
        if name is None or self.model.registry is None:
            return None
        return self.model.registry.find(self.tag, name).folder

    def tokenizer(self) -> HubTokenizer:
        """Return its tokenizer for the `tokenizers` library alone."""
        return hub_tokenizer(self.model, self.tag)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Send all rows through the language while the context lasts."""
        if self.native or self.tag == IMAGES:
            with self.model.native_path():
                yield
            return
        with self.model.tuner.route([self.model.language(self.tag).adapter]):
            yield

    def about(self, tool: str, **more: Any) -> dict[str, Any]:
        """Return what `export.json` says: tool, language, version, base, and what the tool adds."""
        base = self.model.base.identity
        folder = self.version_folder
        return {
            "tool": tool,
            "language": self.tag,
            "version": folder.name if folder else None,
            "base": {
                "name": base.name,
                "source": base.source,
                "family": base.family,
                "native": base.native,
                "fingerprint": base.fingerprint,
                "licence": base.licence,
            },
            "mla-extend": __version__,
            **more,
        }
