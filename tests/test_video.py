"""Videos: which frames are taken, of real encoded files of many kinds, and their vectors beside those of images."""

import json
import shutil
import struct
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import encode, speak
from PIL import Image, ImageDraw

from mla_extend.bases.base import IMAGE_BATCH
from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import open_source
from mla_extend.errors import DataError, ImageError
from mla_extend.files import sha256_file
from mla_extend.images import video
from mla_extend.images.contents import image_keys
from mla_extend.images.open import open_image
from mla_extend.images.video import FRAMES, is_video, pool_frames, read_frames
from mla_extend.training.stages import image_vectors

COLOURS = 216
EVEN = [int((part + 0.5) * 100 / FRAMES) for part in range(FRAMES)]
"""Of a hundred frames of the same length, those that are shown at the midpoints of twelve parts."""


def numbered(number, size=(64, 48)):
    """Draw a frame whose colour tells its number: six steps of each of red, green and blue."""
    number %= COLOURS
    return Image.new("RGB", size, tuple(40 * (number // 6**place % 6) + 20 for place in range(3)))


def numbers(images):
    """Read the numbers of frames."""
    found = []
    for image in images:
        steps = np.rint((np.asarray(image).reshape(-1, 3).mean(axis=0) - 20) / 40).astype(int)
        found.append(int(steps @ [1, 6, 36]))
    return found


def hundred():
    return map(numbered, range(100))


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("clip.mp4", True),
        ("CLIP.MP4", True),
        ("a.b/vidéo.webm", True),
        ("x.mkv", True),
        ("x.mov", True),
        ("x.m4v", True),
        ("x.avi", True),
        ("x.gif", False),
        ("x.jpg", False),
        ("mp4", False),
        ("x.mp4.png", False),
    ],
)
def test_video_is_known_by_its_suffix(name, yes):
    assert is_video(name) is yes
    assert is_video(Path(name)) is yes


def test_opened_image_is_no_video():
    assert not is_video(Image.new("RGB", (2, 2)))


@pytest.mark.parametrize(
    ("name", "codec", "more"),
    [
        ("h264.mp4", "libx264", {}),
        ("h264.mov", "libx264", {}),
        ("h264.m4v", "libx264", {}),
        ("h264.mkv", "libx264", {}),
        ("h264.avi", "libx264", {}),
        ("open_groups.mp4", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=10"}),
        ("one_key.mp4", "libx264", {"gop": 1000}),
        ("all_keys.mp4", "libx264", {"gop": 1}),
        ("fragments.mp4", "libx264", {"muxer": {"movflags": "frag_keyframe+empty_moov"}}),
        ("index_first.mp4", "libx264", {"muxer": {"movflags": "faststart"}}),
        ("mpeg4.mp4", "mpeg4", {}),
        ("mpeg4.avi", "mpeg4", {}),
        ("mjpeg.avi", "mjpeg", {"pixels": "yuvj420p"}),
        ("vp9.webm", "libvpx-vp9", {}),
        ("vp8.webm", "libvpx", {}),
        ("no_index.webm", "libvpx-vp9", {"muxer": {"live": "1"}}),
        ("with_sound.mp4", "libx264", {"sound": 9}),
        ("lossless.mkv", "ffv1", {}),
    ],
)
def test_frames_are_those_shown_at_the_midpoints_of_equal_parts(tmp_path, name, codec, more):
    frames = read_frames(encode(tmp_path / name, hundred(), codec, **more))
    assert numbers(frames) == EVEN
    assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (64, 48))}


def test_frames_of_an_avi_with_open_groups_are_found_to_a_frame_or_two(tmp_path):
    """Such files hold no times, and after a jump the first frames of a group cannot be decoded."""
    frames = read_frames(encode(tmp_path / "b_frames.avi", hundred(), "mpeg4", bf="2"))
    assert numbers(frames) == pytest.approx(EVEN, abs=2)


def test_long_video_is_sampled_over_all_of_it(tmp_path):
    """Three minutes with a key frame every ten seconds."""
    path = encode(tmp_path / "long.mp4", map(numbered, range(4500)), rate=25, gop=250, preset="ultrafast")
    assert numbers(read_frames(path)) == [int((part + 0.5) * 4500 / FRAMES) % COLOURS for part in range(FRAMES)]
    assert numbers(read_frames(path, 1)) == [2250 % COLOURS]
    assert numbers(read_frames(path, 3)) == [750 % COLOURS, 2250 % COLOURS, 3750 % COLOURS]


@pytest.mark.parametrize(("name", "codec"), [("x.mp4", "libx264"), ("x.webm", "libvpx"), ("x.avi", "libx264")])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_short_video_gives_every_frame_once(tmp_path, name, codec, count):
    path = encode(tmp_path / name, map(numbered, range(count)), codec)
    assert numbers(read_frames(path)) == list(range(count))


@pytest.mark.parametrize(("name", "codec"), [("x.mp4", "libx264"), ("x.mkv", "libx264"), ("x.webm", "libvpx-vp9")])
def test_frames_of_unequal_length_count_by_their_time(tmp_path, name, codec):
    """Eleven quick frames, the last of which stays for 1.6 seconds; four quick ones, the last for two."""
    times = [*range(0, 401, 40), 2000, 2040, 2080, 2120, 4000]
    path = encode(tmp_path / name, map(numbered, range(len(times))), codec, times=times)
    assert numbers(read_frames(path)) == [4] + [10] * 5 + [14] * 6


def corners():
    """Draw a picture that tells how it is turned: red, green, blue and white corners, clockwise from the top left."""
    image = Image.new("RGB", (96, 64))
    draw = ImageDraw.Draw(image)
    for left, top, colour in ((0, 0, "red"), (48, 0, "lime"), (48, 32, "blue"), (0, 32, "white")):
        draw.rectangle((left, top, left + 47, top + 31), fill=colour)
    return image


def seen_corners(image):
    """Return the colours of the corners, clockwise from the top left."""
    names = {(1, 0, 0): "red", (0, 1, 0): "lime", (0, 0, 1): "blue", (1, 1, 1): "white"}
    width, height = image.size
    places = [(8, 8), (width - 9, 8), (width - 9, height - 9), (8, height - 9)]
    return [names[tuple(int(value > 128) for value in image.getpixel(place))] for place in places]


@pytest.mark.parametrize(
    ("matrix", "size", "expected"),
    [
        ((1, 0, 0, 1), (96, 64), ["red", "lime", "blue", "white"]),
        ((0, 1, -1, 0), (64, 96), ["white", "red", "lime", "blue"]),
        ((-1, 0, 0, -1), (96, 64), ["blue", "white", "red", "lime"]),
        ((0, -1, 1, 0), (64, 96), ["lime", "blue", "white", "red"]),
    ],
    ids=["upright", "portrait", "upside down", "portrait, other way"],
)
def test_video_of_a_turned_phone_is_upright(tmp_path, matrix, size, expected):
    """The track's matrix takes a point (x, y) of the sensor to (ax + cy, bx + dy) on the screen."""
    path = encode(tmp_path / "phone.mov", [corners()] * 20)
    content = bytearray(path.read_bytes())
    a, b, c, d = (value * 65536 for value in matrix)
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    for frame in read_frames(path):
        assert frame.size == size
        assert seen_corners(frame) == expected


def test_name_that_reads_like_an_address_is_a_file(tmp_path, monkeypatch):
    path = encode(tmp_path / "concat:a|b 100%20?.mp4", hundred())
    monkeypatch.chdir(tmp_path)
    assert numbers(read_frames(path.name)) == EVEN


def test_tags_in_an_old_encoding_do_no_harm(tmp_path):
    path = encode(tmp_path / "old.avi", hundred(), "mpeg4")
    content = path.read_bytes()
    assert b"Lavf" in content
    path.write_bytes(content.replace(b"Lavf", b"\xe9t\xe9 "))
    assert numbers(read_frames(path)) == EVEN


def sound_alone(path, _):
    with av.open(str(path), "w") as container:
        speak(container, container.add_stream("aac", rate=44100), 2)


def sound_with_a_cover(path, _):
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        voice = container.add_stream("aac", rate=44100)
        container.mux(cover.encode(av.VideoFrame.from_image(numbered(3))))
        container.mux(cover.encode())
        speak(container, voice, 2)


def cut(share):
    return lambda path, content: path.write_bytes(content[: int(len(content) * share)])


def hole(path, content):
    place = len(content) // 3
    path.write_bytes(content[:place] + bytes(200) + content[place + 200 :])


@pytest.mark.parametrize(
    ("name", "muxer", "damage", "message"),
    [
        ("empty.mp4", {}, cut(0), "cannot be read"),
        ("text.mp4", {}, lambda path, _: path.write_text("ቪዲዮ አይደለም\n" * 50, encoding="utf-8"), "cannot be read"),
        ("picture.mp4.avi", {}, lambda path, _: path.write_bytes(b"\0" * 4000), "cannot be read"),
        ("half.mp4", {}, cut(0.5), "cannot be read"),
        ("half.mkv", {}, cut(0.5), r"breaks off after \d\.\d of 10\.0 seconds"),
        ("half.avi", {}, cut(0.5), "breaks off after"),
        ("most.mp4", {"movflags": "faststart"}, cut(0.8), "breaks off after"),
        ("head.mkv", {}, cut(0.1), "cannot be read"),
        ("no_frames.mp4", {"movflags": "frag_keyframe+empty_moov"}, cut(0.1), "has no frames"),
        ("hole.mp4", {}, hole, "cannot be read"),
        ("sound.mp4", {}, sound_alone, "no video stream"),
        ("cover.mp4", {}, sound_with_a_cover, "no video stream"),
        (
            "playlist.mp4",
            {},
            lambda path, _: path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"),
            "cannot be read",
        ),
    ],
)
def test_video_that_cannot_be_used_is_named(tmp_path, name, muxer, damage, message, capfd):
    path = tmp_path / name
    encode(path, hundred(), "mpeg4" if name.endswith("avi") else "libx264", muxer=muxer)
    damage(path, path.read_bytes())
    with pytest.raises(ImageError, match=message) as caught:
        read_frames(path)
    assert str(path) in str(caught.value)
    assert caught.value.image == path
    assert any(word in str(caught.value) for word in ("again", "Remove its lines"))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_missing_video_and_folder_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"no\.mp4 does not exist"):
        read_frames(tmp_path / "no.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ImageError, match=r"folder\.mp4 cannot be read"):
        read_frames(tmp_path / "folder.mp4")


def test_a_few_lost_seconds_at_the_end_are_no_damage(tmp_path):
    path = encode(tmp_path / "x.mkv", hundred(), "mjpeg", pixels="yuvj420p")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.97)])
    assert numbers(read_frames(path))[:6] == pytest.approx(EVEN[:6], abs=2)


def test_giant_frames_are_made_smaller_and_more_than_that_refused(tmp_path, monkeypatch):
    encode(tmp_path / "a.mp4", map(numbered, range(20)))
    monkeypatch.setattr(video, "MANY_PIXELS", 64 * 48)
    assert {frame.size for frame in read_frames(tmp_path / "a.mp4")} == {(64, 48)}
    whole = numbers(read_frames(tmp_path / "a.mp4"))
    monkeypatch.setattr(video, "MANY_PIXELS", 1000)
    smaller = read_frames(tmp_path / "a.mp4")
    assert {frame.size for frame in smaller} == {(32, 24)}
    assert numbers(smaller) == whole
    monkeypatch.setattr(video, "MOST_PIXELS", 64 * 48 - 1)
    for read in (read_frames, video.check_video):
        with pytest.raises(ImageError, match=r"a\.mp4 has frames of 64 x 48 pixels, more than 3,071\. Make it smaller"):
            read(tmp_path / "a.mp4")


def test_without_pyav_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"pip install 'mla-extend\[video\]'") as caught:
        read_frames(tmp_path / "x.mp4")
    assert str(tmp_path / "x.mp4") in str(caught.value)


def test_each_frame_counts_alike_however_long_its_vector():
    vectors = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(pool_frames(vectors), torch.tensor([1.0, 1.0]))


def test_equal_frames_give_their_own_vector():
    vector = torch.randn(16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pool_frames(vector.expand(12, 16)), vector)
    assert torch.equal(pool_frames(torch.zeros(3, 4)), torch.zeros(4))


def moving(picture, count=30):
    """Give the frames of a picture that slides out to the left."""
    image = open_image(picture).resize((48, 48))
    for number in range(count):
        yield Image.fromarray(np.roll(np.asarray(image), -number, axis=1))


@pytest.fixture
def clips(tmp_path, pictures):
    """Give the paths of three clips of pictures."""
    names = ("a.mp4", "b.webm", "c.avi")
    codecs = ("libx264", "libvpx-vp9", "mpeg4")
    return [
        encode(tmp_path / name, moving(picture), codec)
        for name, codec, picture in zip(names, codecs, pictures, strict=False)
    ]


def plain(base, images):
    """Encode opened images in batches, as is done without videos."""
    rows = []
    for start in range(0, len(images), IMAGE_BATCH):
        pixels = base.family.pixels(base.processor, images[start : start + IMAGE_BATCH])
        rows.append(base.family.image_features(base.model, pixels).float())
    return torch.cat(rows)


def test_images_alone_are_encoded_as_ever(base_folder, pictures):
    base = open_base(str(base_folder))
    with torch.no_grad():
        expected = plain(base, [open_image(path) for path in pictures])
    assert torch.equal(base.image_vectors(pictures), expected)


def test_videos_stand_among_images(base_folder, pictures, clips):
    base = open_base(str(base_folder))
    mixed = [*pictures[:5], clips[0], pictures[5], open_image(pictures[6]), str(clips[1]), clips[2], *pictures[7:20]]
    found = base.image_vectors(mixed)
    assert found.shape == (len(mixed), base.image_vectors(pictures[:1]).shape[1])
    with torch.no_grad():
        for item, vector in zip(mixed, found, strict=True):
            frames = plain(base, read_frames(item) if is_video(item) else [open_image(item)])
            expected = pool_frames(frames) if is_video(item) else frames[0]
            torch.testing.assert_close(vector, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(base.encode_images(clips).norm(dim=-1), torch.ones(3))


def test_still_video_has_the_vector_of_its_picture(clip_folder, pictures, tmp_path):
    base = open_base(str(clip_folder))
    path = encode(tmp_path / "still.mkv", [open_image(pictures[0])] * 40, "ffv1", pixels="bgr0")
    torch.testing.assert_close(base.image_vectors([path]), base.image_vectors([pictures[0]]), rtol=1e-4, atol=1e-5)


def test_key_of_a_video_holds_the_rule_and_that_of_an_image_is_its_hash(clips, pictures, tmp_path, monkeypatch):
    copy = Path(shutil.copy(clips[0], tmp_path / "copy.mp4"))
    key, same, other = image_keys([clips[0], copy, clips[1]])
    assert same == key != other
    assert key != bytes.fromhex(sha256_file(clips[0]))
    assert image_keys([pictures[0]]) == [bytes.fromhex(sha256_file(pictures[0]))]
    monkeypatch.setattr("mla_extend.images.video.RULE", "8 frames, from the start")
    assert image_keys([clips[0]]) != [key]


def test_vectors_of_videos_are_kept(clip_folder, clips, pictures, monkeypatch):
    base = open_base(str(clip_folder))
    items = [clips[0], pictures[0], clips[1]]
    first = Features(base).images(items)
    monkeypatch.setattr("av.open", None)  # whoever reads a video now fails
    assert np.array_equal(Features(base).images(items), first)


def test_file_of_videos_with_text_is_read_like_one_of_images(clip_folder, clips, pictures, tmp_path):
    captions = ["paka anaruka", "ድመት ትዘላለች", "猫が跳ぶ"]
    rows = [{"video": clip.name, "caption": text} for clip, text in zip(clips, captions, strict=True)]
    file = tmp_path / "videos.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    base = open_base(str(clip_folder))
    data = open_source(file, ColumnMapping()).captions()
    assert data.texts == captions
    found = image_vectors(data, Features(base))
    assert found == pytest.approx(base.image_vectors(clips).numpy(), abs=1e-5)


def test_line_of_a_damaged_video_is_named(clip_folder, clips, tmp_path):
    clips[1].write_bytes(b"")
    file = tmp_path / "videos.jsonl"
    file.write_text("".join(json.dumps({"video": c.name, "caption": "paka"}) + "\n" for c in clips), encoding="utf-8")
    with pytest.raises(DataError, match=r"videos\.jsonl, line 2: The video .*b\.webm cannot be read"):
        image_vectors(open_source(file, ColumnMapping()).captions(), Features(open_base(str(clip_folder))))
