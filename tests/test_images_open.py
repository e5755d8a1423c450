"""Pictures as people see them, whatever file they come from."""

import contextlib
import io
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, features

from mla_extend.errors import ImageError
from mla_extend.images import open as opening
from mla_extend.images.budget import Budget, decoded_bytes
from mla_extend.images.open import UPRIGHT, image_header, open_image

AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Return a picture that is another one turned or mirrored."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return Image.fromarray((np.stack([x, y, x * y], axis=-1) * 200 + 20).astype(np.uint8))


def distance(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    assert one.mode == other.mode == "RGB"
    return float(np.abs(np.asarray(one, dtype=np.int16) - np.asarray(other, dtype=np.int16)).mean())


BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.mark.parametrize("orientation", [1, *UPRIGHT, 9])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_a_picture_is_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = scene().transpose(BACK[orientation]) if orientation in BACK else scene()
    stored.save(tmp_path / f"a.{kind}", exif=exif.tobytes() if kind != "tif" else exif)
    assert distance(open_image(tmp_path / f"a.{kind}"), scene()) < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_notes_do_not_make_a_picture_unreadable(tmp_path: Path) -> None:
    scene().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01")
    assert distance(open_image(tmp_path / "a.jpg"), scene()) < 3


def drawing(mode: str) -> Image.Image:
    """Return a black square on a clear ground."""
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (10, 10, 30, 30))
    return image.convert(mode)


def on_white() -> Image.Image:
    image = Image.new("RGB", (40, 40), "white")
    image.paste((0, 0, 0), (10, 10, 30, 30))
    return image


@pytest.mark.parametrize(
    "name",
    ["rgba.png", "la.png", "palette.png", "palette.gif", "rgba.webp", "rgba.tif", pytest.param("a.avif", marks=AVIF)],
)
def test_what_is_clear_is_white(tmp_path: Path, name: str) -> None:
    mode = "LA" if name.startswith("la") else "RGBA"
    image = drawing(mode)
    more: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    if name.startswith("palette"):
        image = on_white().quantize(2)
        more = {"transparency": image.getpixel((0, 0))}
    image.save(tmp_path / name, **more)
    assert distance(open_image(tmp_path / name), on_white()) < 2


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_one_clear_colour_is_white(tmp_path: Path, mode: str) -> None:
    clear: Any = (1, 2, 3) if mode == "RGB" else 7
    image = Image.new(mode, (40, 40), clear)
    image.paste(0, (10, 10, 30, 30))
    image.save(tmp_path / "a.png", transparency=clear)
    assert distance(open_image(tmp_path / "a.png"), on_white()) == 0


def test_half_clear_is_half_white() -> None:
    assert open_image(Image.new("RGBA", (4, 4), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)


def slope(top: float, kind: Any) -> np.ndarray:
    return np.linspace(0, top, 64 * 48).reshape(48, 64).astype(kind)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (slope(65_535, np.uint16), "a.png"),
        (slope(65_535, np.uint16), "a.tif"),
        (slope(1, np.float32), "a.tif"),
        (slope(255, np.float32), "a.tif"),
        (slope(65_535, np.float32), "a.tif"),
        (slope(1e9, np.float32), "a.tif"),
        (slope(255, np.int32), "a.tif"),
        (slope(65_535, np.int32), "a.tif"),
        (slope(1e9, np.int32), "a.tif"),
        (slope(2e3, np.float32) - 1e3, "a.tif"),
    ],
)
def test_deep_greys_become_eight_bits(tmp_path: Path, values: np.ndarray, name: str) -> None:
    Image.fromarray(values).save(tmp_path / name)
    wanted = Image.fromarray(slope(255, np.uint8)).convert("RGB")
    assert distance(open_image(tmp_path / name), wanted) < 1.01
    reduced = open_image(tmp_path / name, least_side=12, few_pixels=0)
    assert reduced.size == (16, 12)
    assert distance(reduced, wanted.reduce(4)) < 1.5


@pytest.mark.parametrize("top", [1_023, 4_095, 16_383, 65_535])
def test_greys_of_fewer_bits_than_their_file_are_not_dark(top: int) -> None:
    wanted = Image.fromarray(slope(255, np.uint8)).convert("RGB")
    for kind in (np.uint16, np.int32, np.float32):
        assert distance(open_image(Image.fromarray(slope(top, kind))), wanted) < 1.01


def test_dark_deep_pictures_stay_dark() -> None:
    """A picture that uses few of its values is no brighter than the fewest bits make it."""
    assert open_image(Image.fromarray(np.full((4, 4), 100, dtype=np.uint16))).getpixel((0, 0)) == (25, 25, 25)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (2, 3)])
def test_numbers_that_are_none_change_no_others(odd: float, place: tuple[int, int]) -> None:
    values = slope(1_000, np.float32)
    values[place] = odd
    wanted = Image.fromarray((slope(1_000, np.float32) * 255 / 1_023 + 0.5).astype(np.uint8)).convert("RGB")
    assert distance(open_image(Image.fromarray(values)), wanted) < 0.1


@pytest.mark.parametrize("value", [-5.0, np.nan, 0.0])
def test_a_picture_of_one_value_is_one_grey(value: float) -> None:
    image = open_image(Image.fromarray(np.full((4, 4), value, dtype=np.float32)))
    assert len(image.getcolors() or ()) == 1


def test_one_clear_value_of_a_deep_grey_is_white(tmp_path: Path) -> None:
    values = np.full((40, 40), 9, dtype=np.uint16)
    values[10:30, 10:30] = 0
    Image.fromarray(values).save(tmp_path / "a.png", transparency=9)
    assert distance(open_image(tmp_path / "a.png"), on_white()) < 1
    assert distance(open_image(tmp_path / "a.png", least_side=20, few_pixels=0), on_white().reduce(2)) < 1


def test_cmyk_is_shown_by_its_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cmyk = scene().convert("CMYK")
    cmyk.save(tmp_path / "plain.jpg", quality=95)
    assert distance(open_image(tmp_path / "plain.jpg"), scene()) < 4
    asked = []
    convert = ImageCms.profileToProfile
    monkeypatch.setattr(ImageCms, "profileToProfile", lambda *a, **k: asked.append(k) or convert(*a, **k))
    cmyk.save(tmp_path / "broken.jpg", quality=95, icc_profile=b"no profile")
    assert distance(open_image(tmp_path / "broken.jpg"), scene()) < 4
    lab = ImageCms.profileToProfile(
        scene(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    asked.clear()
    lab.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert distance(open_image(lab), scene()) < 4
    assert asked == [{"outputMode": "RGB"}]


# Large pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((2_048, 2_048), (2_048, 2_048)),  # few pixels
        ((4_000, 3_000), (2_000, 1_500)),
        ((1_200, 9_000), (1_200, 9_000)),  # the shorter side would become too short
        ((600, 40_000), (300, 20_000)),  # too many in any shape
    ],
)
def test_large_pictures_are_reduced_as_far_as_a_model_does_not_see(
    size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    found = open_image(image)
    assert found.size == reduced
    shown = [one.resize((64, 64), Image.Resampling.BICUBIC) for one in (found, image)]
    assert distance(*shown) < 0.6


def test_reducing_in_strips_is_reducing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (203, 157, 3), dtype=np.uint8))
    monkeypatch.setattr(opening, "STRIP_PIXELS", 1_000)
    assert distance(open_image(image, least_side=50, few_pixels=0), image.reduce(3)) == 0


def test_clear_pixels_do_not_darken_what_is_reduced() -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 20, 40))
    assert open_image(image, least_side=1, few_pixels=0).getpixel((0, 0)) == (255, 127, 127)


def test_a_line_is_made_shorter_that_a_model_would_make_a_giant() -> None:
    line = Image.new("RGB", (3, 20_000), (9, 99, 9))
    assert open_image(line).size == (3, 384)
    assert open_image(line.transpose(Image.Transpose.ROTATE_90)).size == (384, 3)
    assert open_image(line).getpixel((1, 100)) == (9, 99, 9)
    assert open_image(line.crop((0, 0, 3, 384))).size == (3, 384)


def test_a_jpeg_is_reduced_while_it_is_read(tmp_path: Path) -> None:
    scene(6_400, 4_800).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        image.draft(None, (1_600, 1_200))
        assert distance(open_image(tmp_path / "a.jpg"), image.convert("RGB")) < 1


def test_large_pictures_warn_nobody_and_leave_pillow_as_it_is(tmp_path: Path) -> None:
    Image.new("1", (9_600, 9_600)).save(tmp_path / "a.png")
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(tmp_path / "a.png").size == (1_067, 1_067)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_too_large_a_picture_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUDGET", Budget(20_000))
    scene(50, 30).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png is too large: it takes 0 MB to decode, and 0 MB are allowed\. Make"):
        open_image(tmp_path / "a.png")
    scene(50, 30).save(tmp_path / "a.jpg", progressive=True)
    with pytest.raises(ImageError, match="is too large"):
        open_image(tmp_path / "a.jpg")
    assert image_header(tmp_path / "a.png") == ("image/png", (50, 30))


def test_no_more_is_decoded_at_once_than_the_budget_lets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget, held, most = Budget(50_000), [0], [0]
    monkeypatch.setattr(opening, "BUDGET", budget)
    real = opening._decoded

    def decoded(*arguments: Any) -> Image.Image:
        held[0] += 1
        most[0] = max(most[0], held[0])
        time.sleep(0.02)
        shown = real(*arguments)
        held[0] -= 1
        return shown

    monkeypatch.setattr(opening, "_decoded", decoded)
    scene(50, 30).save(tmp_path / "a.png")  # 24,000 bytes with its copies
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: open_image(tmp_path / "a.png"), range(16)))
    assert most == [2]


def test_a_picture_is_counted_by_what_decoding_it_takes() -> None:
    sides = (1_000, 1_000)
    count = partial(decoded_bytes, sides, sides, progressive=False, copied=0)
    assert count("1", "PNG") == 10**6
    assert count("RGB", "PNG") == 4 * 10**6
    assert count("RGB", "WEBP") == 16 * 10**6
    assert count("F", "TIFF") == 4 * 10**6
    assert decoded_bytes(sides, sides, "L", "PNG", progressive=False, copied=10**6) == 13 * 10**6
    assert decoded_bytes(sides, (100, 100), "RGB", "JPEG", progressive=True, copied=0) == 6_040_000


# What cannot be read ----------------------------------------------------------------------------------------------


def damaged_pictures() -> dict[str, bytes]:
    """Return damaged pictures over which Pillow raises what is no OSError."""
    with io.BytesIO() as whole:
        scene().save(whole, "DDS")
        dds = bytearray(whole.getvalue())
    dds[80:84] = b"\0\0\0\1"  # its pixels are of no kind there is
    damaged = {"dds.jpg": bytes(dds)}
    if features.check("avif"):
        with io.BytesIO() as whole:
            scene().save(whole, "AVIF")
            damaged["avif.jpg"] = whole.getvalue()[:-50] + b"\xff" * 50
    return damaged


def test_damage_that_pillow_has_no_error_of_its_own_for_is_an_unreadable_image(tmp_path: Path) -> None:
    for name, content in damaged_pictures().items():
        with pytest.raises((RuntimeError, NotImplementedError)), Image.open(io.BytesIO(content)) as image:
            image.load()
        (tmp_path / name).write_bytes(content)
        for source in (content, tmp_path / name):
            with pytest.raises(ImageError, match="cannot be read"):
                open_image(source)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("decoder"),
        NotImplementedError(),
        EOFError(),
        IndexError("x"),
        MemoryError(),
        OverflowError(),
        TypeError(),
    ],
)
def test_whatever_a_decoder_raises_is_an_unreadable_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: Any) -> None:
        raise error

    scene().save(tmp_path / "a.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(ImageError, match=rf"a\.png cannot be read \({type(error).__name__}") as raised:
        open_image(tmp_path / "a.png")
    assert raised.value.image == tmp_path / "a.png"


def test_no_decoder_stops_on_damaged_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "jpeg2000", "ppm")
    for kind in (*kinds, *(["avif"] if features.check("avif") else [])):
        buffer = io.BytesIO()
        scene().save(buffer, kind)
        whole = buffer.getvalue()
        for cut in (0, 1, 10, len(whole) // 2):
            with contextlib.suppress(ImageError):
                assert open_image(whole[:cut]).mode == "RGB"
        for _ in range(30):
            content = bytearray(whole)
            for place in rng.integers(0, len(content), 4):
                content[place] = rng.integers(0, 256)
            with contextlib.suppress(ImageError):
                assert open_image(bytes(content)).mode == "RGB"


def test_a_film_on_a_giant_canvas_is_refused_before_it_is_decoded() -> None:
    """Its decoder holds several canvases: 1.5 GB for a file of a kilobyte."""
    with io.BytesIO() as stream:
        scene().save(stream, "WEBP", save_all=True, append_images=[scene().transpose(Image.Transpose.ROTATE_180)])
        film = bytearray(stream.getvalue())
    film[27:30] = (1_500_000 - 1).to_bytes(3, "little")  # the height in its VP8X header
    assert image_header(bytes(film)) == ("image/webp", (64, 1_500_000))
    with pytest.raises(ImageError, match=r"too large: it takes 1,5\d\d MB"):
        open_image(bytes(film))


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    for name in ("a.dds", "a.ico", "a.pdf", "a.eps", "a.tga", "a.pcx"):
        scene().save(tmp_path / name)
        with pytest.raises(ImageError, match=r"not one of .*JPEG, "):
            open_image(tmp_path / name)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"The image .*gone\.png does not exist"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"IsADirectoryError|PermissionError"):
        open_image(tmp_path)


def test_many_threads_open_at_once(tmp_path: Path) -> None:
    Image.new("1", (9_600, 9_600)).save(tmp_path / "a.png")
    failed: list[ImageError] = []

    def read() -> None:
        try:
            for _ in range(5):
                image_header(tmp_path / "a.png")
        except ImageError as error:
            failed.append(error)

    limit = Image.MAX_IMAGE_PIXELS
    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert limit == Image.MAX_IMAGE_PIXELS
