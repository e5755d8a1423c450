"""The formats that can be read. To add one: write its file here and name it in `FORMATS`."""

from mla_extend.data.formats.bicleaner import Bicleaner
from mla_extend.data.formats.comma_separated import Csv
from mla_extend.data.formats.format import Format
from mla_extend.data.formats.gettext import Gettext
from mla_extend.data.formats.hugging_face import HuggingFace
from mla_extend.data.formats.image_folder import ImageFolder
from mla_extend.data.formats.jsonl import Jsonl
from mla_extend.data.formats.jsonl_folder import JsonlFolder
from mla_extend.data.formats.moses import Moses
from mla_extend.data.formats.parquet import Parquet
from mla_extend.data.formats.tmx import Tmx
from mla_extend.data.formats.tsv import Tsv
from mla_extend.data.formats.webdataset_tars import WebDataset
from mla_extend.data.formats.xliff import Xliff

FORMATS: tuple[Format, ...] = (
    Bicleaner(),
    Tsv(),
    Csv(),
    Jsonl(),
    Parquet(),
    Moses(),
    Tmx(),
    Xliff(),
    Gettext(),
    HuggingFace(),
    ImageFolder(),
    WebDataset(),
    JsonlFolder(),
)
"""Asked in this order, after the layouts; the first that recognises the data reads it."""
