"""The families that can be opened. To add one: write its file here and name it in `FAMILIES`.

They name a model's class as `transformers.X`, which imports X's file when the class is used: a search opens one
family, and should not wait for the files of the others.
"""

from mla_extend.bases.families.chinese_clip import ChineseClip
from mla_extend.bases.families.clip import Clip
from mla_extend.bases.families.dual_encoder import DualEncoder
from mla_extend.bases.families.open_clip import OpenClip
from mla_extend.bases.families.sentence_transformer import (
    SentenceDecoder,
    SentenceModernBert,
    SentenceTransformerFamily,
)
from mla_extend.bases.families.siglip import Siglip
from mla_extend.bases.families.vision_text import VisionTextDualEncoder
from mla_extend.bases.family import Family

FAMILIES: tuple[Family, ...] = (
    OpenClip(),  # before those that look at config.json: a folder of open_clip's may hold one of transformers, too
    Clip(),
    Siglip(),
    ChineseClip(),
    VisionTextDualEncoder(),
    DualEncoder(),
    SentenceModernBert(),
    SentenceDecoder(),
    SentenceTransformerFamily(),
)
