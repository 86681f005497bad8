"""Every way a request can fail: its status, its code and a sentence a person can act on."""

from typing import ClassVar


class EngineError(Exception):
    """An engine (a recogniser, a language model) could not do its work.

    `transient` failures are worth one more try, `timed_out` ones ran out of time, `rejected` ones mean the
    configuration is wrong (key refused, model unknown) and stay wrong until somebody changes it.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool = False,
        timed_out: bool = False,
        rejected: bool = False,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.timed_out = timed_out
        self.rejected = rejected
        self.retry_after_s = retry_after_s


class RequestFailed(Exception):
    """A request ends here; catch this one to answer any failure of the contract.

    `heard` is the transcript as far as there was one, so that a late failure loses nothing.
    """

    status = 500
    code = "internal_error"
    message = "Something went wrong on our side. Please try again."
    headers: ClassVar[dict[str, str]] = {}

    def __init__(
        self, message: str | None = None, *, heard: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message or self.message)
        self.heard = heard
        self.retry_after_s = retry_after_s

    def as_json(self, request_id: str) -> dict[str, str]:
        """Return the contract's error object: error, code, request_id and, where known, input."""
        body = {"error": str(self), "code": self.code, "request_id": request_id}
        return body if self.heard is None else body | {"input": self.heard}


class BadRequest(RequestFailed):
    """The request cannot be understood."""

    status, code = 400, "bad_request"
    message = "The request could not be read. Send multipart/form-data with the recording in the field 'audio'."


class MissingAudio(RequestFailed):
    """No recording came with the request."""

    status, code = 400, "missing_audio"
    message = "No recording arrived. Send it as a file in the multipart field 'audio'."


class EmptyAudio(RequestFailed):
    """The recording has no bytes."""

    status, code = 400, "empty_audio"
    message = "The recording is empty (0 bytes). Record again and send the whole file."


class BadTone(RequestFailed):
    """The tone is not on the list."""

    status, code = 400, "bad_tone"


class BadLanguage(RequestFailed):
    """The language tag is malformed, or no configured engine hears that language."""

    status, code = 400, "bad_language"


class Unauthorized(RequestFailed):
    """A key is required and none, or a wrong one, was sent."""

    status, code = 401, "unauthorized"
    message = "A valid API key is required. Send it as 'Authorization: Bearer <key>'."
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class NotFound(RequestFailed):
    """Nothing is served at this path."""

    status, code = 404, "not_found"
    message = "There is nothing at this address. Recordings go to POST /upload."


class MethodNotAllowed(RequestFailed):
    """The path exists, the method does not."""

    status, code = 405, "method_not_allowed"
    message = "This address does not take that method; the Allow header lists the ones it takes."


class TooLarge(RequestFailed):
    """The body is over the limit."""

    status, code = 413, "too_large"


class RateLimited(RequestFailed):
    """The client is over its allowance."""

    status, code = 429, "rate_limited"


class Overloaded(RequestFailed):
    """As many uploads are being worked on as this process takes."""

    status, code = 503, "overloaded"
    message = "The service is busy. Please try again in a few seconds."


class UndecodableAudio(RequestFailed):
    """No decoder makes sound of these bytes."""

    code = "undecodable_audio"
    message = "This file could not be read as a recording. Send WAV, WebM, MP4/M4A, Ogg, MP3, FLAC or AIFF audio."


class NoSpeech(RequestFailed):
    """Nothing was heard in the recording."""

    code = "no_speech"
    message = "No speech was heard in the recording. Check the microphone and speak a little closer to it."


class TranscriptionFailed(RequestFailed):
    """The speech recogniser failed for good."""

    code = "transcription_failed"


class TranscriptionTimeout(RequestFailed):
    """The speech recogniser did not answer in time."""

    code = "transcription_timeout"


class RefinementFailed(RequestFailed):
    """The rewriter failed for good."""

    code = "refinement_failed"


class RefinementTimeout(RequestFailed):
    """The rewriter did not answer in time."""

    code = "refinement_timeout"
