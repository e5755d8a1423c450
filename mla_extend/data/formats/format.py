"""What a file format must do: say whether a file is of its kind, and give its rows under the names of its columns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mla_extend.errors import DataError

NATIVE_COLUMNS = ("english", "en", "native", "source")
TARGET_COLUMNS = ("non_english", "target", "translation")
IMAGE_COLUMNS = ("image", "img", "filepath", "file_name", "img_path", "image_path", "video")
TEXT_COLUMNS = ("caption", "captions", "text", "title", "txt", "sentences")


@dataclass(frozen=True)
class Row:
    """Hold one record: the line it starts in (counted from 1), and its values by lower-cased column name.

    A format without column names calls its columns `0`, `1`, ....
    """

    line: int
    values: dict[str, Any]


class Format(ABC):
    """Read one kind of file."""

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def rows(self, path: Path) -> Iterator[Row]:
        """Give the rows of a file one by one.

        Raises:
            DataError: a line cannot be read; the message names it.
        """


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give a file's lines with their numbers, without the line ends (LF or CRLF) and a byte order mark.

    Only a line feed ends a line: other characters that Unicode calls line breaks may stand in a sentence.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                yield number, line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not UTF-8 (byte 0x{error.object[error.start]:02x} at position {error.start + 1}). "
            "Save the file as UTF-8, for example with iconv -f latin1 -t utf-8."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}). Check the path and its permissions."
        ) from error
