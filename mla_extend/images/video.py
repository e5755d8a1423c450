"""Videos where images may stand: a few frames sampled uniformly over the time, and their vectors averaged.

Shapes: `F` frames, `D` the width of a vector.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from mla_extend.errors import DataError, ImageError
from mla_extend.extras import optional

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"})
"""What marks a file as a video. A GIF stays an image, of which the first frame counts."""
FRAMES = 12
"""Frames a video, as CLIP4Clip takes for short clips."""
MANY_PIXELS = 9_000_000
"""Pixels from which on a frame is made smaller, as many as 4K has."""
MOST_PIXELS = 36_000_000
"""Pixels of a frame from which on a video is not decoded, as many as 8K has: a decoder holds several."""
RULE = f"{FRAMES} frames, midpoints of equal times; mean of unit vectors; 1"
"""What a video's vector depends on besides its bytes and the base; the last number counts what else has changed."""


def is_video(path: object) -> TypeGuard[str | Path]:
    """Say whether something is the path of a video, by its suffix."""
    return isinstance(path, str | Path) and Path(path).suffix.lower() in SUFFIXES


def video_key(content: str) -> bytes:
    """Return the key of a video's vector in the cache, from the SHA-256 of the file in hexadecimal."""
    return hashlib.sha256(f"{content} {RULE}".encode()).digest()


def read_frames(path: str | Path, count: int = FRAMES) -> "list[Image.Image]":
    """Return the frames shown at the midpoints of `count` equal parts of a video's time, as upright RGB images.

    A frame that is shown at several of these times comes as often. A video of at most `count` frames gives each once.

    Raises:
        ImageError: there is no such file, no picture in it, it is damaged, or its end is missing.
        DataError: PyAV is not installed.
    """
    with _opened(path) as container:
        stream = _stream(path, container)
        timeline = _timeline(path, container, stream, count)
        return _decode(path, container, stream, timeline, count)


def check_video(path: str | Path) -> None:
    """Raise what `read_frames` does where a file is no video, by a look at its beginning."""
    with _opened(path) as container:
        _stream(path, container)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """Open a video, and tell in one line what is wrong with it."""
    av = optional("av", f"The video {path}")
    try:
        # Without the scheme a name with a colon would be one; a list of other addresses in a file is not followed.
        with av.open(f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"}) as container:
            yield container
    except FileNotFoundError as error:
        raise ImageError(path, f"The video {path} does not exist. Check the path.") from error
    except DataError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly everything
        raise ImageError(
            path,
            f"The video {path} cannot be read ({type(error).__name__}): it is damaged, or not a video. Fetch or encode "
            "it again, or remove its lines.",
        ) from error


def pool_frames(vectors: "Tensor") -> "Tensor":
    """Return a video's vector `[D]` from its frames' unnormalised vectors `[F, D]`.

    The frames are normalised before they are averaged, as CLIP4Clip does, so that each counts alike however long its
    vector is. The result is as long as they are on average: beside the vectors of images, which are unnormalised, a
    still video is like its picture.
    """
    lengths = vectors.norm(dim=-1, keepdim=True)
    pooled: Tensor = (vectors / lengths.clamp_min(1e-12)).mean(dim=0) * lengths.mean()
    return pooled


@dataclass(frozen=True)
class _Timeline:
    """Hold when frames are shown, in units of the stream, ascending.

    Attributes:
        times: of each frame.
        end: when the last is over.
        keys: of each frame that can be decoded without others, and its place for seeking.
    """

    times: list[int]
    end: float
    keys: list[tuple[int, int]]

    def wanted(self, count: int) -> list[int]:
        """Return the times of the frames to take."""
        if len(self.times) <= count:
            return self.times
        step = (self.end - self.times[0]) / count
        shown = [bisect_right(self.times, self.times[0] + (part + 0.5) * step) - 1 for part in range(count)]
        return [self.times[place] for place in shown]


def _stream(path: str | Path, container: Any) -> Any:
    """Return the first stream of moving pictures: an album's cover is none."""
    from av.stream import Disposition  # noqa: PLC0415 - an extra

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            stream.thread_type = "AUTO"
            _check_size(path, stream)
            return stream
    raise ImageError(path, f"The video {path} has no video stream. Remove its lines.")


def _timeline(path: str | Path, container: Any, stream: Any, count: int) -> _Timeline:
    """Return a stream's timeline, from a walk through the file without decoding: what headers say is often wrong."""
    times: list[int] = []
    keys: list[tuple[int, int]] = []
    end, over = 0.0, 0.0
    for packet in container.demux():
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None:
            continue
        finish = time + (packet.duration or 0)
        over = max(over, float(finish * packet.time_base))
        if packet.stream is stream and not packet.is_discard:
            times.append(time)
            end = max(end, finish)
            if packet.is_keyframe:
                keys.append((time, time if packet.dts is None else packet.dts))
    if not times:
        raise ImageError(path, f"The video {path} has no frames. Fetch or encode it again, or remove its lines.")
    times = sorted(set(times))
    if end <= times[-1]:
        end = times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1)
    said = (container.duration or 0) / 1_000_000
    there = over - (container.start_time or 0) / 1_000_000
    # Less than the last of the times wanted may be missing: it changes little.
    if there < (1 - 0.5 / count) * said:
        raise ImageError(
            path,
            f"The video {path} breaks off after {there:.1f} of {said:.1f} seconds. Fetch it again, or remove its "
            "lines.",
        )
    return _Timeline(times, end, sorted(keys) or [(times[0], times[0])])


def _decode(path: str | Path, container: Any, stream: Any, timeline: _Timeline, count: int) -> "list[Image.Image]":
    """Decode the frames of ascending times, each from the key frame before it."""
    images: dict[int, Image.Image] = {}
    wanted, keys, place = timeline.wanted(count), timeline.keys, -1
    frames: Iterator[tuple[float, Any]] = iter(())
    at, shown = -math.inf, None
    for time in dict.fromkeys(wanted):
        key = max(0, bisect_right(keys, time, key=lambda entry: entry[0]) - 1)
        if key != place:
            container.seek(keys[key][1], stream=stream)
            frames, place = _frames(container, stream, timeline.times, keys[key][0]), key
            at, shown = -math.inf, None
        while at < time:
            # Where the last frames cannot be decoded, the one before them stands for them.
            at, shown = next(frames, (math.inf, shown))
        if shown is None:
            raise ImageError(
                path, f"The video {path} cannot be decoded. Fetch or encode it again, or remove its lines."
            )
        # A rotation is counted to the left, here and there.
        images[time] = _picture(path, shown).rotate(shown.rotation, expand=True)
    return [images[time] for time in wanted]


def _picture(path: str | Path, frame: Any) -> "Image.Image":
    """Return a frame as a picture, made smaller where it is larger than 4K, since all of a video's are held at once."""
    _check_size(path, frame)
    factor = math.ceil(math.sqrt(frame.width * frame.height / MANY_PIXELS))
    image: Image.Image = frame.to_image(width=max(1, frame.width // factor), height=max(1, frame.height // factor))
    return image


def _check_size(path: str | Path, shown: Any) -> None:
    if shown.width * shown.height > MOST_PIXELS:
        raise ImageError(
            path,
            f"The video {path} has frames of {shown.width} x {shown.height} pixels, more than {MOST_PIXELS:,}. Make it "
            "smaller.",
        )


def _frames(container: Any, stream: Any, times: Sequence[int], first: int) -> Iterator[tuple[float, Any]]:
    """Give the frames from a key frame on, in the order in which they are shown, with their times."""
    # An AVI holds no times, and those that are made up for it are in the order of decoding: there, frames are counted,
    # which may be a frame or two off where the first ones of a group need those before it.
    counted = container.format.name == "avi"
    place = bisect_right(times, first) - 1
    for number, frame in enumerate(container.decode(stream), start=place):
        yield (times[min(number, len(times) - 1)] if counted or frame.pts is None else frame.pts), frame
