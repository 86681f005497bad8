import contextlib
import io
import os
from pathlib import Path

import pytest
from flask import Flask, request
from werkzeug.test import EnvironBuilder

from refiner.errors import BadLanguage, BadTone, EmptyAudio, MissingAudio, RequestFailed, TooLarge
from refiner.uploads import Upload, read_upload


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """An app with nothing but the request class, its upload directory not yet made."""
    app = Flask(__name__)
    app.config.update(UPLOAD_DIR=tmp_path / "not" / "yet" / "there", MAX_CONTENT_LENGTH=1_000_000)
    return app


def received(app: Flask, **form: object) -> Upload:
    """Read an upload of this form."""
    environ = EnvironBuilder(method="POST", data=form).get_environ()
    with contextlib.closing(environ["wsgi.input"]), app.request_context(environ):
        return read_upload(request, directory=app.config["UPLOAD_DIR"], language="en-US")


def test_a_recording_is_read_from_its_beginning_and_outlives_the_request_object(app: Flask) -> None:
    """Flask closes its files early; whoever got the upload closes this one."""
    data = os.urandom(700_000)
    upload = received(app, audio=(io.BytesIO(data), "a.wav"), tone=" Formal ", language="de-DE")
    with upload.recording as recording:
        assert recording.read() == data
    assert (upload.size_bytes, upload.tone, upload.language) == (len(data), "formal", "de-DE")


def test_an_upload_has_no_name_anywhere(app: Flask) -> None:
    """The directory is made, and stays empty even while the recording is open."""
    upload = received(app, audio=(io.BytesIO(b"x" * 700_000), "../../etc/passwd"))
    assert os.listdir(app.config["UPLOAD_DIR"]) == []
    upload.recording.close()


def test_defaults_apply(app: Flask) -> None:
    """Neither tone nor language needs to be sent; blank ones count as unset."""
    upload = received(app, audio=(io.BytesIO(b"x"), "a"), tone="", language="")
    upload.recording.close()
    assert (upload.tone, upload.language) == ("polite", "en-US")


@pytest.mark.parametrize(
    ("form", "failure"),
    [
        ({}, MissingAudio),
        ({"audio": "text"}, MissingAudio),
        ({"file": (io.BytesIO(b"x"), "a")}, MissingAudio),
        ({"audio": (io.BytesIO(b""), "")}, MissingAudio),
        ({"audio": (io.BytesIO(b""), "a")}, EmptyAudio),
        ({"audio": (io.BytesIO(b"x"), "a"), "tone": "rude"}, BadTone),
        ({"audio": (io.BytesIO(b"x"), "a"), "language": "en_US"}, BadLanguage),
        ({"audio": (io.BytesIO(b"x" * 1_000_001), "a")}, TooLarge),
        ({"audio": (io.BytesIO(b"x"), "a"), "note": "x" * 600_000}, TooLarge),
    ],
)
@pytest.mark.filterwarnings("error::ResourceWarning")
def test_what_is_wrong_is_said_and_nothing_stays_open(
    form: dict[str, object], failure: type[RequestFailed], app: Flask
) -> None:
    """Each mistake is the contract's failure."""
    with pytest.raises(failure):
        received(app, **form)
