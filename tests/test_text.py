import pytest

from refiner.text import count_words, is_language_tag, tidy_reply, truncate


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("  ", 0),
        ("one", 1),
        ("it's five o'clock", 3),
        ("a\nb\tc  d", 4),
        ("中文字幕", 2),
        ("hello 世界", 2),
        ("ไทยภาษา", 4),
    ],
)
def test_words_are_counted_in_every_script(text: str, words: int) -> None:
    """Scripts without spaces count two characters as a word, so no transcript is unbounded."""
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("text", "kept"),
    [("one two", "one two"), ("one  two three four", "one  two three"), ("", ""), ("一二三四五六七八", "一二三四五六")],
)
def test_truncation_keeps_wording_and_spacing(text: str, kept: str) -> None:
    """The first words stay exactly as they were."""
    assert truncate(text, 3) == kept


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Could you help?", "Could you help?"),
        ("<think>They want\nhelp.</think>\n\nCould you help?", "Could you help?"),
        ("<think>never closed", ""),
        ("```\nCould you help?\n```", "Could you help?"),
        ("```text\nCould you help?\n```", "Could you help?"),
        ('"Could you help?"', "Could you help?"),
        ("“Could you help?”", "Could you help?"),
        ("Sure, here is the polite version: Could you help?", "Could you help?"),
        ('Here\'s a polite version:\n\n"Could you help?"', "Could you help?"),
        ('"Yes" and "no" are both "fine"', '"Yes" and "no" are both "fine"'),
        ("Here is the report: it is late.", "Here is the report: it is late."),
        ("Sure, I can come at 5: see you then.", "Sure, I can come at 5: see you then."),
        ("  ", ""),
    ],
)
def test_replies_lose_their_wrapping_and_nothing_else(reply: str, text: str) -> None:
    """What models wrap around an answer goes; a text that really begins or ends so stays."""
    assert tidy_reply(reply) == text


@pytest.mark.parametrize(
    ("tag", "is_tag"),
    [("en", True), ("en-US", True), ("zh-Hant-TW", True), ("es-419", True), ("", False), ("e", False), ("en_US", False),
     ("en-", False), ("english language", False), ("../../x", False), ("en-US\n", False), ("x" * 5000, False)],
)  # fmt: skip
def test_language_tags_have_a_shape(tag: str, is_tag: bool) -> None:
    """Only what looks like BCP-47 goes to an upstream."""
    assert is_language_tag(tag) is is_tag
