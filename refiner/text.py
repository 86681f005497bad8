"""Pure functions on words: counting, truncation, tidying of a model's reply, language tags."""

import re

# Scripts written without spaces: one character counts as about half a word there.
_UNSPACED = r"\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}[^\w\s]*|[^\s{_UNSPACED}]+")
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_REASONING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)\s*", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"\A```[\w-]*\n(?P<text>.*?)\n?```\Z", re.DOTALL)
_PREAMBLE = re.compile(
    r"\A(?:(?:sure|certainly|of course|absolutely)[,.!]?\s+)?here(?:'s| is|’s)\s[^\n:]{0,60}"
    r"\b(?:version|rewrit\w+|rephras\w+|reword\w+|revised|polite\w*|transcript)\b[^\n:]{0,60}:\s+",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}


def count_words(text: str) -> int:
    """Count words; two characters of a script without spaces (Chinese, Japanese, Thai, ...) count as one."""
    return sum(1 for _ in _WORD.finditer(text))


def truncate(text: str, max_words: int) -> str:
    """Return the first `max_words` words of `text`, wording and spacing untouched."""
    for number, word in enumerate(_WORD.finditer(text), start=1):
        if number == max_words:
            return text[: word.end()]
    return text


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


def is_language_tag(tag: str) -> bool:
    """Tell whether `tag` has the shape of a BCP-47 language tag (RFC 5646, section 2.1)."""
    return _LANGUAGE_TAG.fullmatch(tag) is not None
