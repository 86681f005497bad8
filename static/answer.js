import { byId, show } from "./dom.js";

const transcript = byId("transcript");
const output = byId("output");

/** Make room for a new answer in `language`. */
export function clearAnswer(language) {
  for (const element of [transcript, output]) {
    element.textContent = "";
    element.lang = language;
  }
  for (const id of ["polite-part", "truncated", "check", "meta", "copy-transcript", "copy-output"]) {
    show(byId(id), false);
  }
  show(byId("example"), false);
  show(byId("result"), false);
}

export function addTranscript(delta) {
  reveal("result");
  addWords(transcript, delta);
}

/** Show the transcript as it finally reads. */
export function setTranscript(text, truncated = false) {
  if (!text) return;
  reveal("result");
  settle(transcript, text, byId("copy-transcript"));
  show(byId("truncated"), truncated);
  byId("truncated").textContent = "You said more than this; only the beginning is used.";
}

export function addOutput(delta) {
  reveal("polite-part");
  addWords(output, delta);
}

/** Show the whole answer: `{input, output, meta}`. */
export function setAnswer({ input, output: text, meta = {} }) {
  setTranscript(input, meta.truncated);
  reveal("polite-part");
  settle(output, text, byId("copy-output"));
  showLine("meta", metaLine(meta));
  showLine("check", checkLine(meta.check));
  byId("polite-part").scrollIntoView({ block: "nearest" });
}

/** Stop waiting for more words: what is there may be read out and copied. */
export function releaseAnswer() {
  for (const [text, button] of [[transcript, "copy-transcript"], [output, "copy-output"]]) {
    text.removeAttribute("aria-busy");
    show(byId(button), text.textContent !== "");
  }
}

/** Show a part of the answer and, the first time, bring it into view: on a phone it starts below the screen. */
function reveal(id) {
  const part = byId(id);
  if (!part.hidden) return;
  show(part);
  part.scrollIntoView({ block: "nearest" });
}

// Each piece gets its own span, which fades in. Busy until whole, so that a screen reader reads sentences, not crumbs.
function addWords(element, delta) {
  const piece = document.createElement("span");
  piece.className = "fresh";
  piece.textContent = delta;
  element.setAttribute("aria-busy", "true");
  element.append(piece);
}

function settle(element, text, copyButton) {
  if (element.textContent !== text) element.textContent = text;
  element.removeAttribute("aria-busy");
  show(copyButton);
}

function showLine(id, text) {
  byId(id).textContent = text;
  show(byId(id), text !== "");
}

function metaLine(meta) {
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  return [
    meta.transcriber && `Heard by ${meta.transcriber}`,
    meta.model && `rewritten by ${meta.model}`,
    meta.duration_s !== undefined && `${meta.duration_s.toFixed(1)} s of sound`,
    meta.timing_ms?.total !== undefined && `answered in ${seconds(meta.timing_ms.total)}`,
  ].filter(Boolean).join(" · ");
}

function checkLine(check) {
  const missing = check?.missing ?? [];
  if (!missing.length) return "";
  return `Worth a second look, not found in the polite version: ${missing.map((word) => `“${word}”`).join(", ")}`;
}
