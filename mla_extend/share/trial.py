"""Run a tokenizer from elsewhere over some texts in a process with limits: `python -m` this FOLDER SECONDS BYTES."""

import os
import sys
from pathlib import Path

TEXTS = [
    "mbwa",
    "A red dog. 123",
    "ሰላም ዓለም",
    "日本語のテキスト",
    "नमस्ते",
    "\u0301\u200d x",
    "a" * 5_000,
    "é" * 5_000,
    "",
]


def run(folder: Path) -> None:
    """Read the tokenizer and the SentencePiece model of a folder, and use them."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - after the limits are set

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    for text in TEXTS:
        tokenizer.decode(tokenizer.encode(text).ids)
    if (folder / "sentencepiece.model").exists():
        import sentencepiece  # noqa: PLC0415

        from mla_extend.language.pieces import without_normaliser  # noqa: PLC0415

        model = without_normaliser((folder / "sentencepiece.model").read_bytes())
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        for text in TEXTS:
            processor.encode(text)


def main(folder: str, seconds: str, memory: str) -> None:
    """Take the limits, then run."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        import resource  # noqa: PLC0415 - Windows has none: there the parent's clock alone ends it
    except ImportError:
        pass
    else:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if LINUX else 0
        if held:
            resource.setrlimit(resource.RLIMIT_AS, (held + int(memory),) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    run(Path(folder))


LINUX = sys.platform == "linux"
if __name__ == "__main__":
    main(*sys.argv[1:])
