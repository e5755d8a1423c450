"""The image index: vectors of images, encoded once and searched in every language."""

from mla_extend.search.index.reader import Entry, ImageIndex

__all__ = ["Entry", "ImageIndex"]
