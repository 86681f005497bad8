"""Recordings for the tests: the same sound in every container, and speech of any length."""

import io
import tempfile
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from refiner.deadline import Deadline
from refiner.segments import Recording

open_files: list[BinaryIO] = []
"""What `opened` opened in this test; a fixture of every test closes it."""


def opened(data: bytes) -> BinaryIO:
    """Put bytes into an unnamed file, as an upload is; it is closed when the test ends."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the test
    file.write(data)
    file.flush()
    open_files.append(file)
    return file


def recording(data: bytes, *, max_audio_s: float = 900) -> Recording:
    """Make a Recording that is in no hurry."""
    return Recording(opened(data), max_audio_s=max_audio_s, deadline=Deadline(60))


def wav(
    pcm: NDArray[np.generic],
    *,
    rate_hz: int = SAMPLE_RATE_HZ,
    subtype: str | None = None,
    format: str = "WAV",
    endian: str | None = None,
) -> bytes:
    """Write samples, shape (samples,) or (samples, channels), with libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, pcm, rate_hz, format=format, subtype=subtype, endian=endian)
    return file.getvalue()


def encode(
    pcm: Pcm,
    container: str,
    codec: str,
    *,
    rate_hz: int = SAMPLE_RATE_HZ,
    layout: str = "mono",
    options: dict[str, str] | None = None,
    bit_rate: int | None = None,
) -> bytes:
    """Write 16 kHz mono int16 samples with FFmpeg, resampled and spread over the channels of `layout`."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        assert isinstance(stream, av.AudioStream)
        if bit_rate:
            stream.bit_rate = bit_rate
        context = stream.codec_context
        formats = context.codec.audio_formats
        sample_format = formats[0].name if formats else "s16"
        context.format = sample_format
        resampler = av.AudioResampler(format=sample_format, layout=layout, rate=rate_hz, frame_size=None)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE_HZ, Fraction(1, SAMPLE_RATE_HZ), 0
        for resampled in [*resampler.resample(frame), *resampler.resample(None), None]:
            out.mux(stream.encode(resampled))
    return file.getvalue()
