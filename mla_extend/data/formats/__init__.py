"""The file formats that can be read. To add one: write its file here and name it in `FORMATS`."""

from mla_extend.data.formats.format import Format
from mla_extend.data.formats.jsonl import Jsonl
from mla_extend.data.formats.tsv import Tsv

FORMATS: tuple[Format, ...] = (Jsonl(), Tsv())
