"""ffmpeg as an encoder: one picture, or the frames of an animation, to the bytes of a file."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from tests.support.differential.scenes import Array, Bytes8

_FORMATS = {
    ("uint8", 1): "gray",
    ("uint8", 3): "rgb24",
    ("uint8", 4): "rgba",
    ("uint16", 1): "gray16le",
    ("uint16", 3): "rgb48le",
    ("uint16", 4): "rgba64le",
}


@cache
def _program() -> str:
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def encoded(frames: list[Array], suffix: str, *options: str) -> bytes:
    """options: those of the output, such as `-pix_fmt rgb565le`, each word by itself."""
    height, width = frames[0].shape[:2]
    bands = 1 if frames[0].ndim == 2 else frames[0].shape[2]
    source = ("-f", "rawvideo", "-pix_fmt", _FORMATS[str(frames[0].dtype), bands])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"file.{suffix}")
        command = [_program(), "-v", "error", "-y", "-threads", "1", *source]
        command += ["-s", f"{width}x{height}", "-i", "-", *options, "-threads", "1", str(file)]
        pixels = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
        subprocess.run(command, input=pixels, check=True)
        return file.read_bytes()


def decoded(data: bytes, suffix: str, size: tuple[int, int]) -> Bytes8:
    """The first frame of a file or stream as RGB of 8 bits."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"file.{suffix}")
        file.write_bytes(data)
        command = [_program(), "-v", "error", "-threads", "1", "-i", str(file), "-frames:v", "1"]
        command += ["-sws_flags", "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic"]
        command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        pixels = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(pixels, np.uint8).reshape(size[1], size[0], 3)
