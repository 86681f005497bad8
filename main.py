"""The front door: the app, its routes and its error handlers."""

import hmac
import traceback
from functools import partial

from flask import Flask, Response, g, jsonify, request, send_from_directory
from flask_cors import CORS
from flask_limiter import Limiter, RateLimitExceeded
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from refiner import errors, events, limits, telemetry
from refiner.arrivals import Arrivals
from refiner.deadline import Cancelled, Deadline
from refiner.metrics import CONTENT_TYPE, Metrics
from refiner.pipeline import Job, refine
from refiner.settings import Settings
from refiner.telemetry import Exchange, log
from refiner.uploads import Upload, read_upload, too_large
from utils import LLM, Transcription

_EXPOSED_HEADERS = [
    "X-Request-ID", "Server-Timing", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
]  # fmt: skip
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(
    settings: Settings | None = None, *, transcription: Transcription | None = None, llm: LLM | None = None
) -> Flask:
    """Make the app; settings come from the environment unless given, the collaborators from the settings.

    Raises SettingsError, which ends the process with one line, when a variable is malformed.
    """
    settings = settings or Settings.from_environ()
    telemetry.configure_logging(settings.log_level)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    CORS(
        app, origins=list(settings.cors_origins), expose_headers=_EXPOSED_HEADERS, max_age=600, methods=["GET", "POST"]
    )
    limiter, arrivals = limits.build_limiter(app, settings), Arrivals()
    _add_hooks(app, settings, limiter, arrivals)
    if settings.metrics:
        _add_metrics(app)
    _add_error_handlers(app, limiter)
    _add_pages(app)
    transcription, llm = transcription or Transcription(settings), llm or LLM(settings)
    log.info("engines", extra=_engines(settings, transcription, llm))
    _add_upload(app, settings, limiter, arrivals, transcription, llm)
    return app


def _add_upload(
    app: Flask, settings: Settings, limiter: Limiter, arrivals: Arrivals, transcription: Transcription, llm: LLM
) -> None:
    @app.post("/upload")
    @limiter.limit(settings.rate_limit)
    def upload() -> Response:
        """Turn a recording into a polite sentence."""
        exchange: Exchange = g.exchange
        with arrivals.expecting(request.environ, exchange.deadline):
            received = read_upload(request, directory=settings.upload_dir, language=settings.language)
        job = _job(exchange, received)
        transcription.require(job.language)
        steps = refine(job, transcription, llm)
        exchange.facts |= {"engine": transcription.engine, "model": llm.model, "timing_ms": job.timing_ms}
        return _streamed(exchange, job, steps) if job.live else jsonify(events.as_json(steps))


def _engines(settings: Settings, transcription: Transcription, llm: LLM) -> dict[str, str]:
    embedded = settings.transcriber == ("sphinx",) and settings.rewriter == "phrasebook"
    note = {"note": "embedded engines: nothing leaves this machine"} if embedded else {}
    return {"transcriber": transcription.engine, "model": llm.model} | note


def _job(exchange: Exchange, upload: Upload) -> Job:
    exchange.body_read = True
    exchange.holds.enter_context(upload.recording)
    exchange.facts["bytes"] = upload.size_bytes
    live = request.accept_mimetypes.best_match(["application/json", events.STREAM_TYPE]) == events.STREAM_TYPE
    return Job(upload.recording, exchange.request_id, upload.tone, upload.language, exchange.deadline, live)


def _streamed(exchange: Exchange, job: Job, steps: "events.Steps") -> Response:
    def translate(error: Exception) -> errors.RequestFailed | None:
        failure = _translated(error)
        exchange.facts["code"] = failure.code if failure else "cancelled"
        return failure

    exchange.facts["status"] = 200  # by now; the log line may be written before the response has left this function
    stream = events.as_stream(
        steps,
        request_id=job.request_id,
        translate=translate,
        on_end=exchange.close,
        on_leave=job.deadline.cancel,
    )
    exchange.streaming = True
    return Response(stream, content_type=events.STREAM_TYPE, headers={"X-Accel-Buffering": "no"})


def _add_metrics(app: Flask) -> None:
    metrics = Metrics()

    @app.before_request
    def watch() -> None:
        metrics.watch(g.exchange)

    @app.get("/metrics")
    def exposition() -> Response:
        """Show what has been served, for Prometheus."""
        return Response(metrics.exposition(), content_type=CONTENT_TYPE)


def _add_pages(app: Flask) -> None:
    @app.get("/")
    def page() -> Response:
        """Serve the page to try the service with."""
        response = send_from_directory(app.root_path, "static/index.html")
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    @app.get("/openapi.json")
    def description() -> Response:
        """Serve the service's description of itself."""
        return send_from_directory(app.root_path, "openapi.json")

    @app.get("/health")
    def health() -> Response:
        """Answer at once, touching nothing outside this process."""
        return jsonify(status="ok")


def _add_hooks(app: Flask, settings: Settings, limiter: Limiter, arrivals: Arrivals) -> None:
    admission = limits.Admission(settings.max_in_flight, arrivals)
    hashed = telemetry.client_hasher(settings.secrets)

    @app.before_request
    def open_exchange() -> None:
        g.client = limits.client_address(request, settings)
        g.exchange = Exchange(
            request_id=telemetry.request_id(request.headers.get("X-Request-ID")),
            method=request.method,
            route=request.endpoint or "-",
            client=hashed(g.client),
            deadline=Deadline(settings.request_timeout_s),
        )

    @app.before_request
    def admit() -> None:
        if request.endpoint == "upload" and request.method == "POST":
            _authorize(settings)
            if not admission.enter():
                raise errors.Overloaded(retry_after_s=2)
            g.exchange.holds.callback(admission.leave)

    @app.after_request
    def add_headers(response: Response) -> Response:
        exchange: Exchange = g.exchange
        exchange.facts["status"] = response.status_code
        response.headers["X-Request-ID"] = exchange.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if request.is_secure or request.headers.get("X-Forwarded-Proto", "").startswith("https"):
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        if exchange.route == "upload":
            if request.method == "POST" and not exchange.body_read:
                response.call_on_close(partial(arrivals.discard, request.environ))
            limits.add_limit_headers(response, limiter)
            response.headers["Server-Timing"] = telemetry.server_timing(exchange.timing_ms())
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.teardown_request
    def close_exchange(error: BaseException | None) -> None:
        exchange: Exchange | None = g.get("exchange")
        if exchange and not exchange.streaming:
            exchange.close()


def _authorize(settings: Settings) -> None:
    """Check the bearer token against every key, in a time that tells nothing about them."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip().encode()
    matches = [hmac.compare_digest(token, key.encode()) for key in settings.api_keys]
    if settings.api_keys and not any(matches):
        raise errors.Unauthorized


def _add_error_handlers(app: Flask, limiter: Limiter) -> None:
    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response:
        exchange: Exchange = g.exchange
        failure = limits.rate_limited(limiter) if isinstance(error, RateLimitExceeded) else _translated(error)
        failure = failure or errors.RequestFailed()
        exchange.facts["code"] = failure.code
        response = jsonify(failure.as_json(exchange.request_id))
        response.status_code = failure.status
        response.headers.extend(failure.headers)
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(error.valid_methods or ())
        if failure.retry_after_s is not None:
            response.headers["Retry-After"] = str(failure.retry_after_s)
        return response


def _translated(error: Exception) -> errors.RequestFailed | None:
    """Turn whatever ended a request into a failure of the contract; None when nobody waits for an answer."""
    if isinstance(error, errors.RequestFailed):
        return error
    if isinstance(error, Cancelled):
        return None
    if isinstance(error, HTTPException):
        return _http_failure(error)
    # The message may hold what a user said; the place does not.
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno} in {place.name}"
    log.error("unexpected failure", extra={"exception": type(error).__name__, "where": where})
    return errors.RequestFailed()


def _http_failure(error: HTTPException) -> errors.RequestFailed:
    status = error.code or 500
    if status == 413:
        return too_large(request)
    known = {404: errors.NotFound, 405: errors.MethodNotAllowed}
    return known.get(status, errors.BadRequest if status < 500 else errors.RequestFailed)()


app = create_app()
