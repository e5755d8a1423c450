"""Pictures: from bytes to pixels."""

PREPARATION = "3"
"""Counts the ways in which pictures have been opened: vectors of another one are not mixed with today's.

1: as Pillow converts to RGB. 2: upright, on white, deep greys scaled, CMYK by its profile, large ones and
lines reduced. 3: reduced to what the model takes."""
