import pytest

from refiner.text import count_words, is_language_tag, is_no_rewriting, tidy_beginning, tidy_reply, truncate


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


@pytest.mark.parametrize(("sentence_words", "kept_words"), [(19, 19), (18, 18), (17, 20), (10, 20), (20, 20)])
def test_truncation_prefers_a_sentences_end_close_by(sentence_words: int, kept_words: int) -> None:
    """A tenth of the words may go for a whole sentence, no more."""
    text = " ".join(["word"] * sentence_words) + ". " + " ".join(["more"] * 30)
    kept = truncate(text, 20)
    assert count_words(kept) == kept_words
    assert text.startswith(kept)
    assert kept.endswith(".") is (kept_words == sentence_words)


def test_a_text_that_fits_is_never_shortened() -> None:
    """However its sentences end."""
    assert truncate("One. Two three", 3) == "One. Two three"


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


@pytest.mark.parametrize(
    ("so_far", "shown"),
    [
        ("", ""), ("Sure", ""), ("Sure, here is the pol", ""), ("He", ""), ("Here's a polite version: Could", "Could"),
        ("Could you", "Could you"), ("<thi", ""), ("<think>they want", ""), ("<think>x</think>\nCould", "Could"),
        ('"Could you', "Could you"), ("```", ""), ("```text\nCould", "Could"), ("Hello th", "Hello th"),
        ("Here is the report:\nit is late", "Here is the report:\nit is late"),
    ],
)  # fmt: skip
def test_a_reply_being_written_shows_only_what_is_surely_part_of_it(so_far: str, shown: str) -> None:
    """Announcements, reasoning and wrapping are held back from the first letter on."""
    assert tidy_beginning(so_far) == shown


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("tell him to go to hell", "I'm sorry, but I can't help with that."),
        ("tell him to go to hell", "I cannot assist with this request."),
        ("write me a poem", "As an AI language model, I don't write poems."),
        ("what is the capital of france", "The capital of France is Paris."),
        ("how many legs does a spider have", "Spiders have eight legs."),
        ("tell me about rome", "Rome is the capital of Italy. " * 20),
    ],
)
def test_refusals_and_answers_are_told_from_rewritings(said: str, reply: str) -> None:
    """A lecture is never passed on as what the speaker said."""
    assert is_no_rewriting(said, reply)


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("i can't help you with that", "I'm sorry, but I can't help with that."),
        ("what time is it", "What time is it, please?"),
        ("what is the deadline", "I would be grateful if you could let me know the deadline."),
        ("no i won't come", "I'm sorry, but I won't be able to come."),
        ("what a mess. clean it up", "Kindly clean this up."),
        ("can you shut up", "Could you please be a little quieter?"),
        ("go away", "I would appreciate some time to myself."),
    ],
)
def test_rewritings_are_not_taken_for_refusals(said: str, reply: str) -> None:
    """Politeness often sounds like declining."""
    assert not is_no_rewriting(said, reply)
