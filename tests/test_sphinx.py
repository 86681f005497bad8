import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from refiner.deadline import Cancelled, Deadline, DeadlineExceeded
from refiner.errors import EngineError
from refiner.recognizers import SphinxRecognizer
from refiner.segments import Segment
from refiner.sphinx import SphinxPool, decode_utterances
from tests.samples import SAID


@pytest.fixture(scope="module")
def pool() -> Iterator[SphinxPool]:
    """One recogniser process, shared so that its model is loaded once."""
    shared = SphinxPool(1)
    yield shared
    shared.close()


def test_the_sample_is_heard_word_for_word(pool: SphinxPool, blunt: Pcm) -> None:
    """The embedded engine hears what was said."""
    assert " ".join(pool.recognize(blunt.tobytes(), Deadline(60), timeout_s=30)) == SAID["blunt.wav"]


def test_a_pause_divides_utterances(blunt: Pcm) -> None:
    """What is said before and after a silence comes as two pieces."""
    silence = np.random.default_rng(1).normal(scale=3, size=SAMPLE_RATE_HZ).astype(np.int16)
    utterances = decode_utterances(np.concatenate([blunt, silence, blunt]).tobytes())
    assert list(utterances) == [SAID["blunt.wav"]] * 2


def test_nothing_carries_over_from_one_segment_to_the_next(blunt: Pcm) -> None:
    """A segment is heard the same whatever was heard before it, by whomever."""
    noise = np.random.default_rng(2).normal(scale=2000, size=2 * SAMPLE_RATE_HZ).astype(np.int16)
    first = decode_utterances(blunt.tobytes())
    decode_utterances(noise.tobytes())
    assert decode_utterances(blunt.tobytes()) == first


def test_silence_is_no_utterance(pool: SphinxPool) -> None:
    """Nobody spoke, so nothing is heard."""
    assert pool.recognize(bytes(2 * SAMPLE_RATE_HZ), Deadline(60), timeout_s=30) == ()


def test_the_server_goes_on_while_it_decodes(pool: SphinxPool, blunt: Pcm) -> None:
    """Decoding happens in another process: this one's threads are never held up."""
    done = threading.Event()
    longest_gap = 0.0

    def tick() -> None:
        nonlocal longest_gap
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            longest_gap, last = max(longest_gap, now - last), now

    ticking = threading.Thread(target=tick)
    ticking.start()
    pool.recognize(np.tile(blunt, 4).tobytes(), Deadline(60), timeout_s=30)
    done.set()
    ticking.join()
    assert longest_gap < 0.5


def test_a_segment_that_takes_too_long_is_given_up(pool: SphinxPool, blunt: Pcm) -> None:
    """The time for one call to an engine holds for this one too."""
    with pytest.raises(EngineError) as failed:
        pool.recognize(np.tile(blunt, 5).tobytes(), Deadline(60), timeout_s=0.05)
    assert failed.value.timed_out


@pytest.mark.parametrize(("seconds", "cancelled", "error"), [(0.05, False, DeadlineExceeded), (60, True, Cancelled)])
def test_a_request_that_is_over_is_not_waited_for(
    pool: SphinxPool, blunt: Pcm, seconds: float, cancelled: bool, error: type[Exception]
) -> None:
    """The deadline and a client's departure end the waiting."""
    deadline = Deadline(seconds)
    timer = threading.Timer(0.05, deadline.cancel) if cancelled else threading.Timer(0, lambda: None)
    timer.start()
    with pytest.raises(error):
        pool.recognize(np.tile(blunt, 5).tobytes(), deadline, timeout_s=30)
    timer.join()


def test_a_killed_process_is_replaced(pool: SphinxPool, blunt: Pcm) -> None:
    """Losing a recogniser costs at most the segment it had."""
    pool.recognize(blunt.tobytes(), Deadline(60), timeout_s=30)
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
    recognizer = SphinxRecognizer(pool, timeout_s=30)
    heard = recognizer.recognize(Segment(blunt), language="en-US", deadline=Deadline(60))
    assert " ".join(heard.utterances) == SAID["blunt.wav"]


ORPHANING = """
import os, multiprocessing
from refiner.deadline import Deadline
from refiner.recognizers import SphinxRecognizer
from refiner.sphinx import SphinxPool
if __name__ == "__main__":
    SphinxPool(1).recognize(bytes(3200), Deadline(60), timeout_s=30)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_processes_end_with_their_server(tmp_path: object) -> None:
    """A server killed outright leaves no recogniser behind."""
    server = subprocess.run([sys.executable, "-c", ORPHANING], stdout=subprocess.PIPE, check=False, timeout=60)
    (pid,) = map(int, server.stdout.split())
    ended_within_s = 10.0
    deadline = Deadline(ended_within_s)
    while os.path.exists(f"/proc/{pid}") and not _is_zombie(pid):
        deadline.wait(0.05)


def _is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"
