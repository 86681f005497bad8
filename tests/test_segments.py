import itertools

import numpy as np
import pytest

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from refiner.deadline import Cancelled, Deadline
from refiner.segments import WHOLE_S, Recording
from tests.sound import encode, opened, recording, wav


def test_a_short_recording_stays_whole(blunt: Pcm) -> None:
    """One breath is one segment, sample by sample what was recorded."""
    heard = recording(wav(blunt))
    (segment,) = heard.segments()
    assert np.array_equal(segment.pcm, blunt)
    assert heard.decoded_s == pytest.approx(len(blunt) / SAMPLE_RATE_HZ)


def test_a_long_recording_is_cut_at_its_pauses(blunt: Pcm) -> None:
    """Segments are short enough for the recogniser, in order, complete, and begin and end in silence."""
    pause = np.zeros(int(0.4 * SAMPLE_RATE_HZ), np.int16)
    pcm = np.concatenate([blunt, pause] * 12)
    segments = list(recording(wav(pcm)).segments())
    assert 3 <= len(segments) <= 5
    assert all(segment.duration_s <= WHOLE_S for segment in segments)
    assert np.array_equal(np.concatenate([segment.pcm for segment in segments])[: len(pcm) - 16000], pcm[:-16000])
    edge = SAMPLE_RATE_HZ // 20
    for before, after in itertools.pairwise(segments):
        assert not before.pcm[-edge:].any()
        assert not after.pcm[:edge].any()


def test_a_long_recording_is_decoded_only_as_far_as_asked(blunt: Pcm) -> None:
    """The first segment of an hour costs what its first half minute costs."""
    heard = recording(encode(np.tile(blunt, 170), "ogg", "libopus", rate_hz=48000))
    next(heard.segments())
    assert heard.decoded_s < 2 * WHOLE_S


def test_long_silences_are_not_sent(blunt: Pcm) -> None:
    """A slow talker's pauses shrink to a second, so all the words fit in few segments."""
    word = blunt[: SAMPLE_RATE_HZ // 2]
    pcm = np.concatenate([np.concatenate([word, np.zeros(10 * SAMPLE_RATE_HZ, np.int16)])] * 60)
    segments = list(recording(wav(pcm)).segments())
    assert sum(segment.duration_s for segment in segments) < 120
    spoken = np.concatenate([segment.pcm for segment in segments])
    assert np.count_nonzero(spoken) == pytest.approx(np.count_nonzero(pcm), rel=0.01)


@pytest.mark.parametrize("amplitude", [0, 1, 20, 60])
def test_segments_without_a_voice_are_not_sent(amplitude: int) -> None:
    """Silence and a quiet room's noise yield nothing to recognise."""
    noise = np.random.default_rng(7).normal(scale=amplitude or 1e-9, size=70 * SAMPLE_RATE_HZ).astype(np.int16)
    heard = recording(wav(noise))
    assert list(heard.segments()) == []
    assert heard.decoded_s == pytest.approx(70, abs=1)


def test_a_quiet_voice_is_still_a_voice(blunt: Pcm) -> None:
    """Forty decibels down somebody is still speaking."""
    assert len(list(recording(wav((blunt * 0.01).astype(np.int16))).segments())) == 1


def test_listening_ends_when_words_do_not_come() -> None:
    """MAX_AUDIO_S bounds how far a recording is decoded, and the recording says so."""
    heard = recording(wav(np.zeros(120 * SAMPLE_RATE_HZ, np.int16)), max_audio_s=60)
    assert list(heard.segments()) == []
    assert heard.cut_off
    assert heard.decoded_s == pytest.approx(60, abs=1)


def test_a_recording_nobody_waits_for_is_not_decoded_on(blunt: Pcm) -> None:
    """Cancelling stops the decoding at the next window."""
    deadline = Deadline(60)
    heard = Recording(opened(wav(np.tile(blunt, 40))), max_audio_s=900, deadline=deadline)
    segments = heard.segments()
    next(segments)
    deadline.cancel()
    with pytest.raises(Cancelled):
        list(segments)


def test_hours_in_a_small_file_cost_no_memory() -> None:
    """A bomb of silence is bounded by samples, not by bytes."""
    hour = encode(np.zeros(1800 * SAMPLE_RATE_HZ, np.int16), "webm", "libopus", rate_hz=48000, bit_rate=6000)
    heard = recording(hour, max_audio_s=120)
    assert list(heard.segments()) == []
    assert heard.decoded_s == pytest.approx(120, abs=1)
