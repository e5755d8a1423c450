"""Short videos for the tests: encoded as they are asked for."""

from fractions import Fraction

import av
import numpy as np


def encode(
    path, images, codec="libx264", *, rate=10, times=None, gop=12, pixels="yuv420p", muxer=None, sound=0, **options
):
    """Encode images as a video, at a fixed rate or at times in milliseconds, with seconds of sound beside it."""
    images = list(images)
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = images[0].size
        stream.pix_fmt = pixels
        stream.gop_size = gop
        stream.options = options
        stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, rate)
        voice = container.add_stream("aac" if path.suffix == ".mp4" else "mp3", rate=44100) if sound else None
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_image(image)
            frame.pts = times[number] if times else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            speak(container, voice, sound)
    return path


def speak(container, stream, seconds):
    """Put a tone into a file."""
    wave = (0.3 * np.sin(np.arange(44100 * seconds) / 20)).astype(np.float32)
    for start in range(0, len(wave) - 1152, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
