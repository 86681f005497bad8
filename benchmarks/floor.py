"""The least any Flask service does: store the upload, make the two calls over kept connections, answer."""

import json
import os
import tempfile

import urllib3
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

RECOGNIZE_URL = os.environ["GOOGLE_SPEECH_URL"]
REWRITE_URL = os.environ["LLM_BASE_URL"] + "/chat/completions"
os.makedirs(os.environ["UPLOAD_DIR"], exist_ok=True)

app = Flask(__name__)
pool = urllib3.PoolManager(maxsize=int(os.environ["THREADS"]))


@app.post("/upload")
def upload() -> ResponseReturnValue:
    """Pass a recording on as it is, and what comes back as it is."""
    with tempfile.TemporaryFile(dir=os.environ["UPLOAD_DIR"]) as file:
        request.files["audio"].save(file)
        file.seek(0)
        heard = pool.request("POST", RECOGNIZE_URL, body=file.read()).data.decode()
    text = json.loads(heard.splitlines()[-1])["result"][0]["alternative"][0]["transcript"]
    completion = pool.request("POST", REWRITE_URL, json={"messages": [{"role": "user", "content": text}]}).json()
    return jsonify(input=text, output=completion["choices"][0]["message"]["content"])


@app.get("/health")
def health() -> ResponseReturnValue:
    """Answer at once."""
    return jsonify(status="ok")
