import inspect

import pytest

from refiner import errors
from refiner.errors import NoSpeech, RequestFailed, TranscriptionFailed

CONTRACT = {
    "missing_audio": 400, "empty_audio": 400, "bad_tone": 400, "bad_language": 400, "bad_request": 400,
    "unauthorized": 401, "not_found": 404, "method_not_allowed": 405, "too_large": 413, "rate_limited": 429,
    "undecodable_audio": 500, "no_speech": 500, "transcription_failed": 500, "transcription_timeout": 500,
    "refinement_failed": 500, "refinement_timeout": 500, "internal_error": 500, "overloaded": 503,
}  # fmt: skip


def test_every_status_and_code_of_the_contract_exists() -> None:
    """Existing frontends rely on exactly these."""
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, RequestFailed)]
    assert {kind.code: kind.status for kind in classes} == CONTRACT


@pytest.mark.parametrize(
    ("failure", "extra"),
    [
        (NoSpeech(), {}),
        (TranscriptionFailed("Broken.", heard="so far"), {"input": "so far"}),
        (NoSpeech(heard=""), {"input": ""}),
    ],
)
def test_a_failure_carries_what_was_heard_only_when_something_was(
    failure: RequestFailed, extra: dict[str, str]
) -> None:
    """Error, code and request id are always there; input is there when there was a transcript."""
    assert failure.as_json("id") == {"error": str(failure), "code": failure.code, "request_id": "id"} | extra
