import dataclasses
import re
from pathlib import Path

import pytest

from refiner.settings import Settings, SettingsError, cores

ROOT = Path(__file__).parent.parent


def test_defaults_without_a_key_select_the_embedded_engines() -> None:
    """Nothing set means PocketSphinx, the phrasebook, one process and limits in memory."""
    settings = Settings.from_environ({})
    assert (settings.transcriber, settings.rewriter) == (("sphinx",), "phrasebook")
    assert (settings.redis_uri, settings.web_concurrency) == ("", 1)
    assert (settings.max_words, settings.max_upload_bytes, settings.max_in_flight) == (100, 25 * 1024 * 1024, 24)


def test_a_key_selects_google_and_the_model() -> None:
    """GROQ_API_KEY alone gives the engines of the service proper, over https."""
    settings = Settings.from_environ({"GROQ_API_KEY": "gsk"})
    assert (settings.transcriber, settings.rewriter) == (("google",), "llm")
    assert settings.google_speech_url.startswith("https://")
    assert settings.stt_base_url == settings.llm_base_url == "https://api.groq.com/openai/v1"


def test_blank_variables_count_as_unset() -> None:
    """Platforms pass empty strings for what nobody filled in."""
    assert Settings.from_environ({"MAX_WORDS": "", "REDIS_URI": " ", "LANGUAGE": "\n"}) == Settings()


def test_lists_are_split_at_commas() -> None:
    """Blanks around the items of a list do not count."""
    settings = Settings.from_environ({"TRANSCRIBER": "google, groq ,sphinx", "API_KEYS": "a,b", "CORS_ORIGINS": "null"})
    assert settings.transcriber == ("google", "groq", "sphinx")
    assert (settings.api_keys, settings.cors_origins) == (("a", "b"), ("null",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_WORDS", "many"), ("MAX_WORDS", "0"), ("MAX_UPLOAD_MB", "-1"), ("MAX_UPLOAD_MB", "nan"),
        ("RATE_LIMIT", "ten a minute"), ("REDIS_URI", "mysql://db"), ("LLM_BASE_URL", "api.groq.com"),
        ("GOOGLE_SPEECH_URL", "ftp://x"), ("TRANSCRIBER", ","), ("TRANSCRIBER", "Google!"), ("REWRITER", "poet"),
        ("LANGUAGE", "en_US"), ("PROXY_HOPS", "-1"), ("CLIENT_IP_HEADER", "X Y"), ("UPSTREAM_TIMEOUT_S", "0"),
        ("REQUEST_TIMEOUT_S", "soon"), ("MAX_AUDIO_S", "inf"), ("THREADS", "1"), ("MAX_IN_FLIGHT", "0"),
        ("WEB_CONCURRENCY", "two"), ("PORT", "70000"), ("LOG_LEVEL", "loud"),
    ],
)  # fmt: skip
def test_a_malformed_value_stops_the_start_with_one_line_naming_it(name: str, value: str) -> None:
    """Whoever misconfigures the service learns which variable to mend."""
    with pytest.raises(SettingsError) as stopped:
        Settings.from_environ({name: value})
    assert re.fullmatch(rf"{name}: [^\n]+", str(stopped.value))


def test_secrets_are_not_in_the_representation() -> None:
    """A printed Settings gives nothing away."""
    environ = {"GROQ_API_KEY": "s3cret1", "REDIS_URI": "redis://:s3cret2@host", "API_KEYS": "s3cret3"}
    settings = Settings.from_environ(environ | {"GOOGLE_SPEECH_KEY": "s3cret4"})
    assert "s3cret" not in repr(settings)
    assert len(settings.secrets) == 4


def test_one_process_without_redis_whatever_is_asked_for() -> None:
    """Counters in memory are per process, so several would multiply the limit."""
    assert Settings.from_environ({"WEB_CONCURRENCY": "4"}).web_concurrency == 1
    assert Settings.from_environ({"WEB_CONCURRENCY": "4", "REDIS_URI": "redis://x"}).web_concurrency == 4
    assert Settings.from_environ({"REDIS_URI": "redis://x"}).web_concurrency == cores()


def test_the_readme_lists_every_variable() -> None:
    """The table people configure from is complete."""
    readme = (ROOT / "README.md").read_text()
    missing = [field.name.upper() for field in dataclasses.fields(Settings) if f"`{field.name.upper()}`" not in readme]
    assert missing == []
