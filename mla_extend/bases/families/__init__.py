"""The families that can be opened. To add one: write its file here and name it in `FAMILIES`."""

from mla_extend.bases.families.clip import Clip
from mla_extend.bases.families.dual_encoder import DualEncoder
from mla_extend.bases.family import Family

FAMILIES: tuple[Family, ...] = (Clip(), DualEncoder())
