"""The running service against its own description."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import sseclient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from refiner.audio import Pcm
from refiner.errors import RequestFailed
from tests.service import Service
from tests.sound import wav
from tests.upstreams import Upstreams

DESCRIPTION: dict[str, Any] = json.loads((Path(__file__).parent.parent / "openapi.json").read_text())
UPLOAD = DESCRIPTION["paths"]["/upload"]["post"]


def test_the_description_is_valid_openapi() -> None:
    """It is OpenAPI 3.1 and says so."""
    assert DESCRIPTION["openapi"].startswith("3.1")
    validate(DESCRIPTION)


def test_it_is_served(shared: Service) -> None:
    """Clients find it where it is said to be."""
    assert requests.get(f"{shared.url}/openapi.json", timeout=30).json() == DESCRIPTION


def test_every_code_of_upload_is_described() -> None:
    """Each failure that an upload can end in appears by its code."""
    described = json.dumps(DESCRIPTION)
    codes = {kind.code for kind in RequestFailed.__subclasses__()}
    assert {code for code in codes if f'"{code}"' not in described} == set()


def test_schemathesis_finds_no_difference(shared: Service) -> None:
    """Generated requests, right and wrong, are answered as described; 500 is part of this contract."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{shared.url}/openapi.json", "--seed", "1"),
        *("--max-examples", "25", "--checks", "all", "--exclude-checks", "not_a_server_error", "--no-color"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-5000:]


def schema(content: dict[str, Any]) -> Draft202012Validator:
    """Return a validator for a described body, its references resolved within the description."""
    return Draft202012Validator(content["schema"] | {"components": DESCRIPTION["components"]})


def test_a_real_answer_is_as_described(shared: Service, blunt: Pcm) -> None:
    """What a success holds is what the description promises."""
    answer = shared.upload(wav(blunt))
    schema(UPLOAD["responses"]["200"]["content"]["application/json"]).validate(answer.json())
    for header in UPLOAD["responses"]["200"]["headers"]:
        if header not in {"Retry-After", "X-Accel-Buffering"}:
            assert header in answer.headers, header


@pytest.mark.parametrize(("recording", "status_code"), [(b"", 400), (b"no sound", 500)])
def test_real_errors_are_as_described(recording: bytes, status_code: int, shared: Service) -> None:
    """Errors too."""
    answer = shared.upload(recording)
    response = UPLOAD["responses"][str(status_code)]
    while "$ref" in response:
        response = DESCRIPTION["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema(response["content"]["application/json"]).validate(answer.json())


def test_every_described_example_event_has_a_counterpart(
    shared: Service, shared_upstreams: Upstreams, blunt: Pcm
) -> None:
    """The events of a real stream are the ones the description names."""
    files, headers = {"audio": ("a.wav", wav(blunt))}, {"Accept": "text/event-stream"}
    with requests.post(f"{shared.url}/upload", files=files, headers=headers, stream=True, timeout=60) as response:
        names = {event.event for event in sseclient.SSEClient(response).events()}  # type: ignore[arg-type]
    described = json.dumps(UPLOAD["responses"]["200"])
    assert names == {"transcript.text.delta", "transcript.text.done", "output.text.delta", "output.text.done"}
    assert all(name in described or name in json.dumps(DESCRIPTION["components"]) for name in names)
