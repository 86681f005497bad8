import pytest

from refiner.deadline import Cancelled, Deadline, DeadlineExceeded


class Clock:
    """A clock that moves when told."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def test_time_counts_down_to_zero() -> None:
    """What remains shrinks, and at the end every check raises."""
    clock = Clock()
    deadline = Deadline(10, clock=clock)
    clock.now += 4
    assert deadline.remaining_s == 6
    assert deadline.allow_s(20) == 6
    assert deadline.allow_s(2) == 2
    clock.now += 7
    assert deadline.remaining_s == 0
    with pytest.raises(DeadlineExceeded):
        deadline.check()


def test_cancelling_ends_a_wait_at_once() -> None:
    """Somebody who went away is not waited for."""
    deadline = Deadline(3600)
    deadline.cancel()
    with pytest.raises(Cancelled):
        deadline.wait(3600)
