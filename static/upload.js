import { eventReader } from "./sse.js";

// Longer than the service's own deadline for a request; its heartbeats count as signs of life.
const SILENCE_MS = 75_000;
const CODE_OF_STATUS = { 401: "unauthorized", 413: "too_large", 429: "rate_limited", 503: "overloaded" };

/**
 * Post the form and report what comes back.
 *
 * XMLHttpRequest, because fetch does not tell how much of a body has been sent.
 * `onSending(fraction)` while the body goes out, `onSent()` when it is out, `onEvent(event)` for each event
 * of the stream; then `onFailure(problem)` once if no final event came. Returns a function that gives up.
 */
export function upload(form, { apiKey, onSending, onSent, onEvent, onFailure }) {
  const request = new XMLHttpRequest();
  const read = eventReader((event) => finish(isLast(event), () => onEvent({ ...reference(request), ...event })));
  let finished = false;
  let bodySent = false;

  function finish(last, report) {
    if (finished) return;
    finished = last;
    report();
  }
  const fail = (problem) => finish(true, () => onFailure(problem));
  const watch = watchdog(SILENCE_MS, () => {
    fail({ code: "connection_lost" });
    request.abort();
  });
  const readStream = () => {
    watch.reset();
    if (isStream(request)) attempt(() => read(request.responseText), fail);
  };

  request.upload.onprogress = (sending) => {
    watch.reset();
    if (sending.lengthComputable) onSending(sending.loaded / sending.total);
  };
  request.upload.onload = () => {
    bodySent = true;
    onSent();
  };
  request.onprogress = readStream;
  request.onload = () => {
    readStream();
    conclude(request, onEvent, fail, finish);
  };
  request.onerror = () => fail({ code: bodySent ? "connection_lost" : "upload_broke_off" });
  request.onloadend = watch.stop;

  request.open("POST", new URL("upload", document.baseURI));
  request.setRequestHeader("Accept", "text/event-stream");
  if (apiKey) request.setRequestHeader("Authorization", `Bearer ${apiKey}`);
  request.send(form);
  watch.reset();
  return () => finish(true, () => request.abort());
}

const isLast = (event) => event.type === "output.text.done" || event.type === "error";

const reference = (request) => ({ request_id: request.getResponseHeader("X-Request-ID") });

const isStream = (request) =>
  request.status === 200 && (request.getResponseHeader("Content-Type") || "").startsWith("text/event-stream");

function attempt(read, fail) {
  try {
    read();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    fail({ code: "bad_answer" });
  }
}

/** A plain JSON answer counts as the stream's last event: not every proxy lets a stream through. */
function conclude(request, onEvent, fail, finish) {
  const answer = isStream(request) ? null : parsed(request.responseText);
  if (answer && request.status === 200) {
    finish(true, () => onEvent({ type: "output.text.done", ...answer }));
  } else {
    fail(problemIn(request, answer));
  }
}

function problemIn(request, answer) {
  if (request.status === 200) return { code: answer === null ? "connection_lost" : "bad_answer" };
  return {
    code: CODE_OF_STATUS[request.status] || "bad_answer",
    status: request.status,
    ...reference(request),
    retryAfterS: Number.parseInt(request.getResponseHeader("Retry-After"), 10) || 0,
    ...answer,
  };
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : undefined;
  } catch {
    return undefined;
  }
}

function watchdog(silenceMs, onSilence) {
  let timer;
  const stop = () => clearTimeout(timer);
  const reset = () => {
    stop();
    timer = setTimeout(onSilence, silenceMs);
  };
  return { reset, stop };
}
