"""Tell pictures from other files: by the suffix, or by the first bytes where a name has none.

What is a picture to people and cannot be read here is passed over, and counted with the reason.
"""

import re
from functools import cache
from pathlib import Path

from mla_extend.extras import install, is_installed
from mla_extend.images.video import SUFFIXES as VIDEOS


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


IMAGES = _suffixes("jpg jpeg jpe jfif pjpeg mpo png apng gif bmp dib tif tiff ppm pgm pbm pnm")
"""Suffixes of pictures that every Pillow reads."""
OPTIONAL = {
    "webp": _suffixes("webp"),
    "avif": _suffixes("avif avifs"),
    "jpg_2000": _suffixes("jp2 j2k j2c jpc jpf jpx"),
}
"""Suffixes of pictures that Pillow reads where it was built so, by the name of the part."""
HEIC = _suffixes("heic heif heics heifs hif")
RAW = _suffixes(
    "3fr ari arw bay cap cr2 cr3 crw dcr dcs dng erf fff gpr iiq k25 kdc mdc mef mos mrw nef nrw orf pef ptx pxn r3d "
    "raf raw rw2 rwl rwz sr2 srf srw x3f"
)
OTHERS = _suffixes(
    "ai cdr cur dcm dds djvu emf eps exr fit fits flif hdp hdr icns ico jls jng jxl jxr kra mng ora pam pcx pct pdf "
    "pfm pic pict psb psd qoi ras sgi svg svgz tga wdp wmf xbm xcf xpm"
)
OTHER_VIDEOS = _suffixes("3g2 3gp asf divx f4v flv m2ts m2v mpe mpeg mpg mts mxf ogm ogv rm rmvb vob wmv")

NO_PILLOW = "this Pillow was built without them"
NO_HEIC = f"they need pillow_heif: {install('pillow_heif')}"
NO_AV = f"videos need av: {install('av')}"
NOT_READ = {
    "raw photos are not read; export them as JPEG": RAW,
    "not read; export them as JPEG or PNG": OTHERS,
    f"not read; convert them to one of {' '.join(sorted(VIDEOS))}": OTHER_VIDEOS,
}

SUFFIX = re.compile(r"\.[a-z0-9]*[a-z][a-z0-9]*")
"""What may name a kind of file. Other endings belong to the name, as in `St. Mary 2024.05` or `cat.jpg_large`."""
LONGEST = 8
"""Characters of a suffix that may name a kind, its dot included."""
HEAD = 12
"""First bytes that tell a picture's kind."""
MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), ".png"),
    (re.compile(rb"GIF8[79]a"), ".gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), ".avif"),
    (re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL), ".heic"),
    (re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"), ".tif"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), ".jp2"),
    (re.compile(rb"BM....\0\0\0\0", re.DOTALL), ".bmp"),
)


def suffix_of(path: Path) -> str:
    """Return the suffix that names a file's kind, in small letters; empty where its name says nothing of it."""
    suffix = path.suffix.lower()
    return suffix if SUFFIX.fullmatch(suffix) and len(suffix) <= LONGEST else ""


def sniffed(path: Path) -> str:
    """Return the suffix that a picture of these first bytes usually has; empty where they are no picture's.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    return next((suffix for magic, suffix in MAGIC if magic.match(head)), "")


@cache
def readable() -> frozenset[str]:
    """Return the suffixes of what can be read here."""
    from PIL import features  # noqa: PLC0415 - reading an index need not wait for it

    found = set(IMAGES)
    for part, suffixes in OPTIONAL.items():
        if features.check(part):
            found |= suffixes
    if is_installed("pillow_heif"):
        found |= HEIC
    if is_installed("av"):
        found |= VIDEOS
    return frozenset(found)


@cache
def passed_over() -> dict[str, str]:
    """Return why a picture or video of a suffix is passed over, for each that is."""
    reasons = {NO_PILLOW: frozenset().union(*OPTIONAL.values()), NO_HEIC: HEIC, NO_AV: VIDEOS, **NOT_READ}
    return {suffix: reason for reason, suffixes in reasons.items() for suffix in suffixes - readable()}
