"""An upload becomes an unnamed file in the upload directory that cannot outlive its request."""

import errno
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from flask import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from refiner.errors import BadLanguage, BadRequest, BadTone, EmptyAudio, MissingAudio, TooLarge
from refiner.prompts import DEFAULT_TONE, TONES
from refiner.text import is_language_tag

_CHUNK_BYTES = 65_536
_LONGEST_FIELD_BYTES = 65_536
_LONGEST_HEADER_BYTES = 16_384
_MOST_PARTS = 100
_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT}


@dataclass(frozen=True)
class Upload:
    """What one client sent: the open, unnamed recording (whoever gets it closes it), and how to treat it."""

    recording: BinaryIO
    size_bytes: int
    tone: str
    language: str


def read_upload(request: Request, *, directory: Path, language: str) -> Upload:
    """Read the whole body once, straight into an unnamed file, and check what can be checked before any work starts.

    `language` is what is spoken when the client does not say. Raises the contract's 400s and 413.
    """
    recording = _unnamed_file(directory)
    try:
        size_bytes, fields = _receive(request, recording)
        recording.seek(0)
        return Upload(recording, size_bytes, _tone(fields.get("tone")), _language(fields.get("language"), language))
    except BaseException:
        recording.close()
        raise


def _unnamed_file(directory: Path) -> BinaryIO:
    """Open a file without a name, unbuffered: chunks are large, and nothing of a recording may wait in memory."""
    try:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=directory, buffering=0))
    except FileNotFoundError:
        directory.mkdir(parents=True, exist_ok=True)
        return cast(BinaryIO, tempfile.TemporaryFile(dir=directory, buffering=0))


def too_large(request: Request) -> TooLarge:
    """Say how large a body may be."""
    largest_mb = (request.max_content_length or 0) / 1024 / 1024
    return TooLarge(
        f"The upload is too large: at most {largest_mb:g} MB are taken. Send a shorter or compressed recording."
    )


def _receive(request: Request, recording: BinaryIO) -> tuple[int, dict[str, str]]:
    try:
        form = _Form(recording)
        for event in _events(request):
            form.take(event)
        return form.checked_size_bytes(), form.fields()
    except (RequestEntityTooLarge, ParserLimitReached) as error:
        raise too_large(request) from error
    except MultipartError as error:
        raise BadRequest from error
    except (ClientDisconnected, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
            raise
        raise BadRequest("The upload broke off or took too long. Please send it again.") from error


def _events(request: Request) -> Iterator[MultipartSegment | bytes | None]:
    """Parse the body as it arrives (RFC 7578): a segment, its bytes, None at its end, and so on."""
    if request.mimetype != "multipart/form-data":
        raise MissingAudio
    boundary = request.mimetype_params.get("boundary", "")
    parser = PushMultipartParser(boundary, max_header_size=_LONGEST_HEADER_BYTES, max_segment_count=_MOST_PARTS)
    unended = f"\r\n\r\n--{boundary}".encode()

    def read(size: int) -> bytes:
        chunk = request.stream.read(size)
        return _with_ends(chunk, unended) if unended in chunk else chunk

    yield from parser.parse_blocking(read, _CHUNK_BYTES)


def _with_ends(chunk: bytes, unended: bytes) -> bytes:
    """Add the line break that some clients leave out at the end of an empty part, Werkzeug's for tests among them."""
    return re.sub(rb"(?<!\r\n)" + re.escape(unended), lambda _: b"\r\n" + unended, chunk)


class _Form:
    """Sorts the parts of a form: the first file called audio is the recording, other files are passed over."""

    def __init__(self, recording: BinaryIO) -> None:
        self._recording = recording
        self._audio: MultipartSegment | None = None
        self._texts: dict[str, bytearray] = {}
        self._segment: MultipartSegment | None = None

    def take(self, event: MultipartSegment | bytes | None) -> None:
        """Take in one event of the parser."""
        if isinstance(event, MultipartSegment):
            self._segment = event
            if self._audio is None and event.name == "audio" and event.filename is not None:
                self._audio = event
        elif event is not None and self._segment is not None:
            self._write(self._segment, event)

    def checked_size_bytes(self) -> int:
        """Return the recording's size; raises MissingAudio or EmptyAudio when there is none."""
        # A browser sends a file field in which nothing was chosen as an empty file without a name.
        if self._audio is None or (not self._audio.filename and not self._audio.size):
            raise MissingAudio
        if not self._audio.size:
            raise EmptyAudio
        return int(self._audio.size)

    def fields(self) -> dict[str, str]:
        """Return the text fields; bytes that are no UTF-8 are replaced, and fit no field then."""
        return {name: text.decode(errors="replace") for name, text in self._texts.items()}

    def _write(self, segment: MultipartSegment, data: bytes) -> None:
        if segment is self._audio:
            self._recording.write(data)
        elif segment.filename is None and segment.name is not None:
            text = self._texts.setdefault(segment.name, bytearray())
            text += data
            if len(text) > _LONGEST_FIELD_BYTES:
                raise RequestEntityTooLarge


def _tone(tone: str | None) -> str:
    tone = (tone or DEFAULT_TONE).strip().lower()
    if tone not in TONES:
        raise BadTone(f"This tone is not known. Choose one of: {', '.join(TONES)}.")
    return tone


def _language(tag: str | None, default: str) -> str:
    tag = (tag or default).strip()
    if not is_language_tag(tag):
        raise BadLanguage("The language must be a BCP-47 tag such as en-US, de-DE or pt-BR.")
    return tag
