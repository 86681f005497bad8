"""Every environment variable, read and checked once, into one frozen Settings."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from limits import parse_many
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from refiner.text import is_language_tag


class SettingsError(SystemExit):
    """A variable is malformed; uncaught, this ends the start with its one line."""


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere; where it is, it knows what a container was given
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CommaSeparated(fields.Field[tuple[str, ...]]):
    """A comma-separated list; blanks around its items do not count."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        return tuple(item for item in (part.strip() for part in value.split(",")) if item)


def _parses(parse: Callable[[str], object], expected: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        try:
            parse(value)
        except ValueError as error:
            raise ValidationError(f"expected {expected}") from error

    return check


def _language(tag: str) -> None:
    if not is_language_tag(tag):
        raise ValidationError("expected a language tag such as en-US")


def _variable(field: fields.Field[Any], *, secret: bool = False) -> Any:
    """Declare one variable: how it is read, and its default."""
    return dataclasses.field(default=field.load_default, metadata={"field": field}, repr=not secret)


_HTTP_URL = validate.URL(schemes={"http", "https"}, require_tld=False)
_POSITIVE = validate.Range(min=0, min_inclusive=False)
_NAMES = validate.And(
    validate.Length(min=1),
    lambda names: all(map(validate.Regexp(r"[a-z][a-z0-9_]*\Z", error="expected names such as google,groq"), names)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the service was told; each attribute is the variable of the same name in capitals."""

    groq_api_key: str = _variable(fields.String(load_default=""), secret=True)
    redis_uri: str = _variable(
        fields.String(
            load_default="",
            validate=validate.Regexp(r"(rediss?|redis\+unix)://", error="expected redis://... or rediss://..."),
        ),
        secret=True,
    )
    transcriber: tuple[str, ...] = _variable(CommaSeparated(load_default=(), validate=_NAMES))
    rewriter: str = _variable(fields.String(load_default="", validate=validate.OneOf(["llm", "phrasebook"])))
    llm_base_url: str = _variable(fields.String(load_default="https://api.groq.com/openai/v1", validate=_HTTP_URL))
    llm_model: str = _variable(fields.String(load_default="openai/gpt-oss-120b"))
    stt_base_url: str = _variable(fields.String(load_default="", validate=_HTTP_URL))
    stt_model: str = _variable(fields.String(load_default="whisper-large-v3-turbo"))
    google_speech_url: str = _variable(
        fields.String(load_default="https://www.google.com/speech-api/v2/recognize", validate=_HTTP_URL)
    )
    google_speech_key: str | None = _variable(fields.String(load_default=None), secret=True)
    language: str = _variable(fields.String(load_default="en-US", validate=_language))
    max_words: int = _variable(fields.Integer(load_default=100, validate=validate.Range(min=1)))
    max_upload_mb: float = _variable(fields.Float(load_default=25.0, validate=_POSITIVE))
    rate_limit: str = _variable(
        fields.String(
            load_default="10/minute;150/day", validate=_parses(parse_many, "limits such as 10/minute;150/day")
        )
    )
    cors_origins: tuple[str, ...] = _variable(CommaSeparated(load_default=("*",)))
    proxy_hops: int = _variable(fields.Integer(load_default=0, validate=validate.Range(min=0)))
    client_ip_header: str = _variable(
        fields.String(
            load_default="", validate=validate.Regexp(r"[A-Za-z0-9-]+\Z", error="expected the name of a header")
        )
    )
    api_keys: tuple[str, ...] = _variable(CommaSeparated(load_default=()), secret=True)
    upload_dir: Path = _variable(fields.String(load_default=Path("uploads")))
    upstream_timeout_s: float = _variable(fields.Float(load_default=20.0, validate=_POSITIVE))
    request_timeout_s: float = _variable(fields.Float(load_default=60.0, validate=_POSITIVE))
    max_audio_s: float = _variable(fields.Float(load_default=900.0, validate=_POSITIVE))
    threads: int = _variable(fields.Integer(load_default=32, validate=validate.Range(min=2)))
    max_in_flight: int = _variable(fields.Integer(load_default=0, validate=validate.Range(min=1)))
    web_concurrency: int = _variable(fields.Integer(load_default=0, validate=validate.Range(min=1)))
    port: int = _variable(fields.Integer(load_default=5000, validate=validate.Range(min=0, max=65535)))
    metrics: bool = _variable(fields.Boolean(load_default=False))
    log_level: str = _variable(
        fields.String(load_default="info", validate=validate.OneOf(["debug", "info", "warning", "error", "critical"]))
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables; a blank one counts as unset.

        Raises SettingsError with one line naming the first malformed variable.
        """
        schema = Schema.from_dict({f.name.upper(): f.metadata["field"] for f in dataclasses.fields(cls)})
        told = {name: value.strip() for name, value in environ.items() if value.strip()}
        told |= {"LOG_LEVEL": told["LOG_LEVEL"].lower()} if "LOG_LEVEL" in told else {}
        try:
            values: dict[str, Any] = schema().load(told, unknown=EXCLUDE)
        except ValidationError as error:
            name, reasons = next(iter(error.messages_dict.items()))
            raise SettingsError(f"{name}: {reasons[0]}") from error
        return cls(**{name.lower(): value for name, value in values.items()})

    def __post_init__(self) -> None:
        """Work out what follows from other variables when it was not said."""
        follows = {
            "transcriber": self.transcriber or (("google",) if self.groq_api_key else ("sphinx",)),
            "rewriter": self.rewriter or ("llm" if self.groq_api_key else "phrasebook"),
            "stt_base_url": self.stt_base_url or self.llm_base_url,
            "upload_dir": Path(self.upload_dir).absolute(),
            "max_in_flight": self.max_in_flight or max(1, self.threads * 3 // 4),
            "web_concurrency": (self.web_concurrency or cores()) if self.redis_uri else 1,
        }
        for name, value in follows.items():
            object.__setattr__(self, name, value)

    @property
    def max_upload_bytes(self) -> int:
        """Return the largest body taken, in bytes."""
        return int(self.max_upload_mb * 1024 * 1024)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return everything that must never show up in an answer or a log."""
        return tuple(filter(None, (self.groq_api_key, self.google_speech_key, self.redis_uri, *self.api_keys)))
