"""The layouts of published test sets. To add one: write its file here and name it in `LAYOUTS`.

A layout is a format that has splits, and gives images with captions in the language and natively.
"""

from mla_extend.data.formats.format import Format
from mla_extend.data.layouts.clip_benchmark import ClipBenchmark
from mla_extend.data.layouts.coco_captions import CocoCaptions
from mla_extend.data.layouts.crossmodal3600 import Crossmodal3600
from mla_extend.data.layouts.karpathy import Karpathy
from mla_extend.data.layouts.multi30k import Multi30k
from mla_extend.data.layouts.xflickrco import XFlickrCO
from mla_extend.data.layouts.xtd import Xtd

LAYOUTS: tuple[Format, ...] = (
    Crossmodal3600(),
    Xtd(),
    Karpathy(),
    CocoCaptions(),
    XFlickrCO(),
    ClipBenchmark(),
    Multi30k(),
)
"""Asked in this order, before the formats: their files often are of a known format, too."""
