"""An upload becomes an unnamed file in the upload directory that cannot outlive its request."""

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from flask import Request, current_app
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from refiner.errors import BadLanguage, BadRequest, BadTone, EmptyAudio, MissingAudio, TooLarge
from refiner.prompts import DEFAULT_TONE, TONES
from refiner.text import is_language_tag

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT}


@dataclass(frozen=True)
class Upload:
    """What one client sent: the open, unnamed recording (the reader closes it), and how to treat it."""

    recording: BinaryIO
    size_bytes: int
    tone: str
    language: str


class StreamedRequest(Request):
    """A request whose file parts go straight from the socket into unnamed files in UPLOAD_DIR."""

    def __init__(self, environ: "WSGIEnvironment", *args: Any, **kwargs: Any) -> None:
        super().__init__(environ, *args, **kwargs)
        self._part_files: list[BinaryIO] = []

    def _get_file_stream(
        self, total_content_length: int | None, content_type: str | None, filename: str | None = None,
        content_length: int | None = None,
    ) -> BinaryIO:  # fmt: skip
        directory: Path = current_app.config["UPLOAD_DIR"]
        directory.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed with the request
        self._part_files.append(file)
        return file

    def close(self) -> None:
        """Close every part's file, those of a body that broke off included; Flask calls this."""
        super().close()
        for file in self._part_files:
            file.close()


def read_upload(request: Request, *, language: str) -> Upload:
    """Read the whole body and check what can be checked before any work starts.

    `language` is what is spoken when the client does not say. Raises the contract's 400s and 413.
    """
    try:
        part, form = request.files.get("audio"), request.form
    except RequestEntityTooLarge as error:
        raise too_large(request) from error
    except (ClientDisconnected, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
            raise
        raise BadRequest("The upload broke off or took too long. Please send it again.") from error
    if part is None or (not part.filename and not _size_bytes(part.stream)):
        raise MissingAudio
    size_bytes = _size_bytes(part.stream)
    if not size_bytes:
        raise EmptyAudio
    tone, spoken = _tone(form.get("tone")), _language(form.get("language"), default=language)
    return Upload(_own(part.stream), size_bytes, tone, spoken)


def too_large(request: Request) -> TooLarge:
    """Say how large a body may be."""
    largest_mb = (request.max_content_length or 0) / 1024 / 1024
    return TooLarge(
        f"The upload is too large: at most {largest_mb:g} MB are taken. Send a shorter or compressed recording."
    )


def _size_bytes(file: object) -> int:
    return os.fstat(cast(BinaryIO, file).fileno()).st_size


def _own(file: object) -> BinaryIO:
    """Duplicate the handle: Flask closes its own at the end of the view, before a streamed answer is done."""
    source = cast(BinaryIO, file)
    source.flush()
    recording = os.fdopen(os.dup(source.fileno()), "rb")
    recording.seek(0)
    return recording


def _tone(tone: str | None) -> str:
    tone = (tone or DEFAULT_TONE).strip().lower()
    if tone not in TONES:
        raise BadTone(f"This tone is not known. Choose one of: {', '.join(TONES)}.")
    return tone


def _language(tag: str | None, *, default: str) -> str:
    tag = (tag or default).strip()
    if not is_language_tag(tag):
        raise BadLanguage("The language must be a BCP-47 tag such as en-US, de-DE or pt-BR.")
    return tag
