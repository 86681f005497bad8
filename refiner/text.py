"""Pure functions on words: counting, truncation, tidying of a model's reply, language tags."""

import re

# Scripts written without spaces: one character counts as about half a word there.
_UNSPACED = r"\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}[^\w\s]*|[^\s{_UNSPACED}]+")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？]")
_REFUSAL = re.compile(
    r"\bas an? (?:ai|language model|assistant)\b|"
    r"\bi(?:'m| am)? (?:(?:really |very )?sorry,? but )?(?:i )?"
    r"(?:can't|cannot|can not|am unable to|am not able to|won't) "
    r"(?:help|assist|comply|fulfill|rewrite|process|provide|do that|engage|support|create|generate|answer)",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"(?:what|who|where|when|why|how|which|whose|is|are|was|were|does|did|do you|can|will|has|have you)\b(?!.*[.!]\s)",
    re.IGNORECASE,
)
# A question that was rewritten still asks something, in one of these ways.
_ASKS = re.compile(
    r"\?|\b(?:please|let me know|tell me|wonder\w*|ask\w*|know|could|would|may|might|curious)\b", re.IGNORECASE
)
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_REASONING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)\s*", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"\A```[\w-]*\n(?P<text>.*?)\n?```\Z", re.DOTALL)
_PREAMBLE = re.compile(
    r"\A(?:(?:sure|certainly|of course|absolutely)[,.!]?\s+)?here(?:'s| is|’s)\s[^\n:]{0,60}"
    r"\b(?:version|rewrit\w+|rephras\w+|reword\w+|revised|polite\w*|transcript)\b[^\n:]{0,60}:\s+",
    re.IGNORECASE,
)
_MAYBE_PREAMBLE = re.compile(
    r"\A(?:(?:sure|certainly|of course|absolutely)\b|here\b|h(?:er?)?\Z)[^\n:]{0,150}:?\s*\Z", re.IGNORECASE
)
_MAYBE_TAG = re.compile(r"\A<[a-z]{0,9}\Z", re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}


def count_words(text: str) -> int:
    """Count words; two characters of a script without spaces (Chinese, Japanese, Thai, ...) count as one."""
    return sum(1 for _ in _WORD.finditer(text))


def truncate(text: str, max_words: int) -> str:
    """Return the first `max_words` words of `text`, wording and spacing untouched.

    When there are more, and a sentence ends within the last tenth of these, it is the end: better a few words less
    than half a sentence.
    """
    ends = [word.end() for word in _WORD.finditer(text)]
    if len(ends) <= max_words:
        return text
    shortest = ends[max_words - 1 - max_words // 10]
    sentence_ends = [end.end() for end in _SENTENCE_END.finditer(text, 0, ends[max_words - 1])]
    return text[: next((end for end in reversed(sentence_ends) if end >= shortest), ends[max_words - 1])]


def tidy_beginning(reply: str) -> str:
    """Tidy a reply that is still being written, and hold back a beginning that may turn out to be no part of it."""
    text = _REASONING.sub("", reply).lstrip()
    if _MAYBE_PREAMBLE.match(text) or _MAYBE_TAG.match(text):
        return ""
    text = _PREAMBLE.sub("", text).lstrip()
    if text.startswith("`"):
        _, fence, text = text.partition("\n")
        text = text if fence else ""
    return text[1:] if text[:1] in _QUOTES else text


def tidy_reply(reply: str) -> str:
    """Strip what models wrap around an answer: reasoning, a code fence, an announcement, enclosing quotes."""
    text = _REASONING.sub("", reply).strip()
    text = _PREAMBLE.sub("", text).strip()
    if fenced := _FENCE.match(text):
        text = fenced["text"].strip()
    return _without_enclosing_quotes(text)


def _without_enclosing_quotes(text: str) -> str:
    closing = _QUOTES.get(text[:1])
    inner = text[1:-1]
    if closing is None or not inner or not text.endswith(closing) or text[0] in inner or closing in inner:
        return text
    return inner.strip()


def is_no_rewriting(said: str, reply: str) -> bool:
    """Tell, as well as can be told cheaply, whether a model refused or answered instead of rewriting."""
    if _REFUSAL.search(reply) and not _REFUSAL.search(said):
        return True
    if count_words(reply) > 3 * count_words(said) + 40:
        return True
    return bool(_QUESTION.match(said)) and not _ASKS.search(reply)


def primary_language(tag: str) -> str:
    """Return a language tag's primary subtag in small letters: en for en-US."""
    return tag.partition("-")[0].lower()


def is_language_tag(tag: str) -> bool:
    """Tell whether `tag` has the shape of a BCP-47 language tag (RFC 5646, section 2.1)."""
    return _LANGUAGE_TAG.fullmatch(tag) is not None
