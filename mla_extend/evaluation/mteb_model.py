"""Give a model to mteb, so that its multilingual image-text tasks run on it unchanged.

    import mteb
    from mla_extend import load_model
    from mla_extend.evaluation.mteb_model import MtebModel

    mteb.evaluate(MtebModel(load_model()), mteb.get_tasks(tasks=["XM3600T2IRetrieval"], languages=["swa", "eng"]))

Texts are encoded in the language that a task names for the subset in hand; images by the base's image tower.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from mla_extend.bases.source import HUB_ID, local_folder
from mla_extend.data.codes import SAME_SCRIPT, closest, fit, language_tag
from mla_extend.errors import DataError, LanguageError
from mla_extend.extras import optional
from mla_extend.language.build import parameters
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.registry.load import RegistryModel

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.model_meta import ModelMeta
    from mteb.types import Array, BatchedInput, PromptType
    from torch.utils.data import DataLoader


class MtebModel:
    """A model as mteb wants it (its `EncoderProtocol`).

    Attributes:
        model: what encodes.
        language: the tag of the language that every text is taken to be in; `None`: what the task says.
        mteb_model_meta: what mteb writes beside its results. The revision changes with the base and with any language,
            so that mteb never takes the results of an older version from its cache.
    """

    def __init__(self, model: MultilingualModel, language: str | None = None) -> None:
        """Wrap a model.

        Args:
            model: the base with its languages.
            language: read every text as being in this language, whatever the task says.

        Raises:
            DataError: mteb is not installed.
            LanguageError: `language` is no code, or the model does not have it.
        """
        self.model = model
        self.language = None if language is None else language_tag(language)
        if self.language is not None:
            model.require(self.language)
        self.mteb_model_meta = _meta(model, self.language)

    def encode(
        self,
        inputs: "DataLoader[BatchedInput]",
        *,
        task_metadata: "TaskMetadata",
        hf_split: str,
        hf_subset: str,
        prompt_type: "PromptType | None" = None,
        **options: Any,
    ) -> npt.NDArray[np.float32]:
        """Encode texts, images, or pairs of the two: L2-normalised vectors `[B, D]`, in the order given.

        A pair's vector is the sum of its text's and its image's vector as the towers give them, as mteb's own CLIP
        wrapper makes it.

        Args:
            inputs: batches with a column `text`, a column `image`, or both.
            task_metadata: says which language each subset is in.
            hf_split, prompt_type: not used.
            hf_subset: the subset in hand.
            options: mteb's; `show_progress_bar` is heeded, the sizes of batches are the model's own.

        Raises:
            DataError: there is neither text nor image, or other vectors than float32 are asked for.
            LanguageError: the model lacks the subset's language.
        """
        from tqdm.auto import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 - of mteb's, so not always there

        if options.get("precision") not in (None, "float32"):
            raise DataError(f"precision={options['precision']!r} is not supported: vectors are float32. Leave it out.")
        texts: list[str] = []
        images: list[torch.Tensor] = []
        for batch in tqdm(inputs, desc="Encoding", disable=not options.get("show_progress_bar", True)):
            texts += batch.get("text", ())
            if "image" in batch:
                # Opened images are let go batch by batch: a corpus of them may not fit into memory.
                images.append(self.model.base.image_vectors(batch["image"]))
        parts = [torch.cat(images)] if images else []
        if texts:
            parts.append(self.model.text_vectors(texts, self._language(task_metadata, hf_subset)))
        if not parts:
            raise DataError(
                f"The task {task_metadata.name} (subset {hf_subset!r}) gives neither text nor images to encode. "
                "Choose tasks by modality, for example mteb.get_tasks(modalities=['image'])."
            )
        vectors: npt.NDArray[np.float32] = F.normalize(sum(parts[1:], parts[0]), dim=-1).numpy()
        return vectors

    def similarity(self, embeddings1: "Array", embeddings2: "Array") -> "Array":
        """Return the cosines of all pairs `[B1, B2]`."""
        from mteb.similarity_functions import cos_sim  # noqa: PLC0415 - slow to import

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: "Array", embeddings2: "Array") -> "Array":
        """Return the cosine of each pair `[B]`."""
        from mteb.similarity_functions import pairwise_cos_sim  # noqa: PLC0415 - slow to import

        return pairwise_cos_sim(embeddings1, embeddings2)

    def _language(self, task: "TaskMetadata", subset: str) -> str:
        if self.language is not None:
            return self.language
        codes = task.hf_subsets_to_langscripts.get(subset, [])
        tag = subset_language(codes, subset, self.model.languages)
        if tag is None:
            said = f"is in {', '.join(codes)}" if codes else "names no language"
            raise LanguageError(
                f"The task {task.name} (subset {subset!r}) {said}, for which the model has no one language. It has: "
                f"{', '.join(self.model.languages)}. Choose the task's languages (mteb.get_tasks(..., languages=[...]))"
                ", add the language, or say MtebModel(model, language=...)."
            )
        return tag


def subset_language(codes: Sequence[str], subset: str, known: Sequence[str]) -> str | None:
    """Return which of the known languages a subset of a task is in, or `None` if it is in none, or in several.

    Args:
        codes: the subset's languages as mteb writes them, such as `swh-Latn`. Several are kinds of one language if the
            subset is called by its code (`no`: `nor-Latn`, `nno-Latn`, `nob-Latn`): the first that is known is taken.
        subset: its name.
        known: tags of the languages to choose from.
    """
    try:
        tags = [language_tag(code) for code in codes]
        # A subset of several languages at once is called after none of them, or after two: `en-de`.
        one = len(tags) == 1 or (subset.isalpha() and _nearest(language_tag(subset), tags[:1]) is not None)
    except LanguageError:  # a programming language, no language at all, or a name that is no code
        return None
    found = [nearest for tag in tags if (nearest := _nearest(tag, known)) is not None]
    return found[0] if one and found else None


def _nearest(tag: str, known: Sequence[str]) -> str | None:
    return next((code for code in closest(known, tag) if fit(code, tag) >= SAME_SCRIPT), None)


def mteb_language(tag: str) -> str:
    """Return a tag as mteb writes languages, with three letters and a script: `sw` gives `swa-Latn`.

    Raises:
        LanguageError: it is not a language code.
    """
    import langcodes  # noqa: PLC0415

    language = langcodes.Language.get(language_tag(tag))
    return f"{language.to_alpha3()}-{language.maximize().script}"


def _meta(model: MultilingualModel, language: str | None) -> "ModelMeta":
    meta = optional("mteb.models.model_meta", "The model for MTEB")
    identity = model.base.identity
    languages = _languages(model)
    revision = identity.fingerprint[:12]
    if languages:
        state = json.dumps(sorted((tag, version) for tag, (version, _) in languages.items()))
        revision += "-" + hashlib.sha256(state.encode()).hexdigest()[:8]
    base = sum(parameter.numel() for parameter in model.base.model.parameters())
    attached = sum(parameters(model, tag) for tag in model.languages[1:] if model.is_loaded(tag))
    from_hub = HUB_ID.fullmatch(identity.source) and local_folder(identity.source) is None
    found: ModelMeta = meta.ModelMeta(
        loader=None,
        name=f"mla-extend/{identity.name}",
        revision=revision,
        release_date=None,
        languages=[mteb_language(tag) for tag in model.languages],
        n_parameters=base - attached + sum(parameters for _, parameters in languages.values()),
        memory_usage_mb=None,
        max_tokens=model.base.max_tokens,
        embed_dim=model.text_vectors(["a"], model.native).shape[1],
        # What the weights, the base's and each language's, were made from and may be used for stands on their cards.
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=meta.ScoringFunction.COSINE,
        use_instructions=False,
        training_datasets=None,
        adapted_from=identity.source if from_hub else None,
        modalities=["text", "image"] if model.base.processor is not None else ["text"],
        experiment_kwargs=None if language is None else {"language": language},
    )
    return found


def _languages(model: MultilingualModel) -> dict[str, tuple[str, int]]:
    """Return for each added language what tells its versions apart, and its number of parameters."""
    found: dict[str, tuple[str, int]] = {}
    if isinstance(model, RegistryModel) and model.registry is not None:
        for entry in model.registry.languages():
            if entry.card is not None:  # a damaged language is refused when it is asked for
                found[entry.language] = (entry.card.version, entry.card.parameters)
    for tag in model.languages[1:]:
        if tag not in found and model.is_loaded(tag):
            digest = hashlib.sha256()
            for _, tensor in sorted(adapter_tensors(model.peft, model.language(tag).adapter).items()):
                digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
            found[tag] = (digest.hexdigest(), parameters(model, tag))
    return found
