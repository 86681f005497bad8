from refiner.transcript import Transcript


def test_utterances_add_up_to_the_first_words() -> None:
    """Pieces are joined by spaces until there is no room, then cut off."""
    transcript = Transcript(5).heard(("one two", "three"), engine="a")
    assert (transcript.text, transcript.words, transcript.full, transcript.truncated) == (
        "one two three",
        3,
        False,
        False,
    )
    transcript = transcript.heard(("four five six",), engine="a")
    assert (transcript.text, transcript.full, transcript.truncated) == ("one two three four five", True, True)


def test_an_exact_fit_is_not_truncated() -> None:
    """Truncated means that more was said, not that the last word just fitted."""
    transcript = Transcript(3).heard(("one two three",), engine="a")
    assert (transcript.full, transcript.truncated) == (True, False)
    assert transcript.heard(("more",), engine="a").truncated


def test_nothing_is_appended_behind_a_cut() -> None:
    """A sentence's end may leave room; what came after the words left out must not fill it."""
    said = " ".join(["word"] * 18) + ". " + " ".join(["more"] * 9)
    transcript = Transcript(20).heard((said, "and so on"), engine="a")
    assert transcript.text.endswith("word.")
    assert (transcript.words, transcript.truncated, transcript.full) == (18, True, True)


def test_engines_are_listed_once_in_order() -> None:
    """After a failover the answer names both."""
    transcript = Transcript(9).heard(("a",), engine="google").heard(("b",), engine="groq").heard((), engine="google")
    assert transcript.engines == ("google", "groq")
