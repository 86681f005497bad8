"""The straightforward implementation: what one writes first with the libraries' own examples at hand."""

import os
import uuid
from pathlib import Path
from typing import Any

import requests
import speech_recognition as sr
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from scipy.io import wavfile
from werkzeug.middleware.proxy_fix import ProxyFix

UPLOAD_DIR = Path(os.environ["UPLOAD_DIR"])
UPLOAD_DIR.mkdir(parents=True, exist_ok=True)
PROMPT = "Rewrite what the user says so that it is polite and professional. Answer with the rewritten text only."

app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation has it
limiter = Limiter(get_remote_address, app=app, storage_uri=os.environ["REDIS_URI"])


@app.post("/upload")
@limiter.limit("10/minute;150/day")
def upload() -> ResponseReturnValue:
    """Turn a recording into a polite sentence."""
    audio = request.files.get("audio")
    if audio is None:
        return jsonify(error="No audio file provided"), 400
    path = UPLOAD_DIR / f"{uuid.uuid4()}.wav"
    audio.save(path)
    try:
        text = transcribe(path)
        return jsonify(input=text, output=query_llm(text))
    except Exception as error:
        return jsonify(error=str(error)), 500
    finally:
        path.unlink()


def transcribe(path: Path) -> str:
    """Return the first 100 words of a WAV file."""
    rate_hz, samples = wavfile.read(path)
    audio = sr.AudioData(samples.tobytes(), rate_hz, samples.dtype.itemsize)
    text: str = sr.Recognizer().recognize_google(audio, endpoint=os.environ["GOOGLE_SPEECH_URL"])
    return " ".join(text.split()[:100])


def query_llm(text: str) -> str:
    """Return the polite version of a text."""
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
    response = requests.post(
        f"{os.environ['LLM_BASE_URL']}/chat/completions",
        headers={"Authorization": f"Bearer {os.environ['GROQ_API_KEY']}"},
        json={"model": "openai/gpt-oss-120b", "messages": messages},
        timeout=30,
    )
    response.raise_for_status()
    completion: dict[str, Any] = response.json()
    return str(completion["choices"][0]["message"]["content"]).strip()


@app.get("/health")
def health() -> ResponseReturnValue:
    """Answer at once."""
    return jsonify(status="ok")
