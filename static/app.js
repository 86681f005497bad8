import * as answer from "./answer.js";
import { byId, clockTime, copyButton, focusIfLost, show } from "./dom.js";
import { levelMeter } from "./meter.js";
import { hideProblem, showProblem } from "./problem.js";
import { endingFor, startRecording } from "./recorder.js";
import { sizeLabel, takeInHand } from "./take.js";
import { upload } from "./upload.js";

const LONGEST_S = 300;
const QUIET_AFTER_S = 3;
const AUDIBLE = 0.1;
const LANGUAGE_TAG = /^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}$/;
const INVITATION = "Press, and say it your way.";
const UNHEARD = "Nothing to be heard yet. Is the microphone muted?";

const record = byId("record");
const send = byId("send");
const cancel = byId("cancel");
const file = byId("file");
const bar = byId("bar");
const stage = byId("stage");
const meter = levelMeter(byId("meter"));
const take = takeInHand();

let phase = "idle"; // idle, asking, recording, working
let stopRecording = () => {};
let giveUp = () => {};
let apiKey = ""; // in memory only: a key has no business in the browser's storage

/* What the page shows */

function enter(next) {
  phase = next;
  document.body.dataset.phase = next;
  const idle = next === "idle";
  record.disabled = next === "asking" || next === "working";
  file.disabled = !idle;
  byId("discard").disabled = !idle;
  send.disabled = !idle || !take.held();
  show(send, next !== "working");
  show(cancel, next === "working");
  byId("record-label").textContent = next === "recording" ? "Stop recording" : take.held() ? "Record again" : "Record";
}

function announce(text) {
  byId("status").textContent = text;
}

/** Show the stage of the work in words and, while it can be measured, as a fraction. */
function progress(stageName, text, fraction) {
  const box = byId("progress");
  if (box.dataset.phase !== stageName) announce(text);
  box.dataset.phase = stageName;
  show(bar, stageName !== "idle");
  if (fraction === undefined) bar.removeAttribute("value");
  else bar.value = fraction;
}

function report(problem) {
  showProblem(problem, announce, [cancel, record]);
}

/* Recording */

async function startOrStop() {
  if (phase === "recording") return stopRecording();
  enter("asking");
  hideProblem();
  take.pause();
  try {
    const watch = recordingWatch();
    stopRecording = await startRecording({ onLevel: watch.onLevel, onEnd: (blob) => keep(blob, watch.stop()) });
    enter("recording");
    watch.start();
    record.focus();
    announce("Recording.");
  } catch (problem) {
    enter("idle");
    if (!problem.code) throw problem;
    report(problem);
  }
}

/** Keep the clock, the meter and an eye on whether anything can be heard. */
function recordingWatch() {
  let startedAt;
  let timer;
  let measured = false;
  let heard = false;
  const elapsed = () => (performance.now() - startedAt) / 1000;

  function tick() {
    byId("clock").textContent = clockTime(elapsed());
    const quiet = measured && !heard && elapsed() > QUIET_AFTER_S;
    setHint(quiet ? UNHEARD : "Listening. Press again to stop.", quiet);
    if (elapsed() >= LONGEST_S) stopRecording();
  }
  function onLevel(level) {
    measured = true;
    heard ||= level > AUDIBLE;
    record.style.setProperty("--level", level.toFixed(3));
    meter.add(level);
  }
  function start() {
    meter.clear();
    startedAt = performance.now();
    timer = setInterval(tick, 200);
    tick();
  }
  function stop() {
    clearInterval(timer);
    setHint(INVITATION);
    return elapsed();
  }
  return { start, stop, onLevel };
}

function setHint(text, aloud = false) {
  const hint = byId("hint");
  if (hint.textContent === text) return;
  hint.textContent = text;
  if (aloud) announce(text);
}

function keep(blob, lengthS) {
  if (!blob.size) {
    enter("idle");
    return report({ code: "nothing_recorded" });
  }
  take.hold(blob, `recording.${endingFor(blob.type)}`, `Your recording, ${clockTime(lengthS)}`);
  enter("idle");
  announce("Recorded. Ready to be made polite.");
  focusIfLost(send, record);
}

/* A file instead */

function choose(chosen) {
  if (!chosen || phase !== "idle") return;
  hideProblem();
  meter.clear();
  byId("clock").textContent = clockTime(0);
  take.hold(chosen, chosen.name, `${chosen.name}, ${sizeLabel(chosen.size)}`);
  enter("idle");
  announce(`${chosen.name} is ready to be made polite.`);
  focusIfLost(send);
}

function discard() {
  take.discard();
  meter.clear();
  byId("clock").textContent = clockTime(0);
  hideProblem();
  enter("idle");
  announce("Discarded.");
  record.focus();
}

function acceptDrops() {
  const over = (event, inside) => {
    event.preventDefault();
    stage.classList.toggle("dropping", inside && phase === "idle");
  };
  addEventListener("dragover", (event) => over(event, true));
  addEventListener("dragleave", (event) => over(event, event.relatedTarget !== null));
  addEventListener("drop", (event) => {
    over(event, false);
    choose(event.dataTransfer.files[0]);
  });
}

/* Tone and language */

const tone = () => byId("wishes").elements.tone.value;

function language() {
  const chosen = byId("language").value;
  return chosen === "other" ? byId("language-tag").value.trim() : chosen;
}

function showWishes() {
  show(byId("language-other"), byId("language").value === "other");
  byId("curl").textContent = curlLine();
}

function curlLine() {
  const url = new URL("upload", document.baseURI).href;
  const spoken = LANGUAGE_TAG.test(language()) ? ` -F language=${language()}` : "";
  return `curl -N -H 'Accept: text/event-stream' -F audio=@recording.wav -F tone=${tone()}${spoken} ${url}`;
}

function changeLanguage() {
  hideProblem();
  const other = byId("language").value === "other";
  byId(other ? "language-tag" : "language").focus();
}

/* Sending and what comes back */

function makePolite() {
  if (phase !== "idle" || !take.held()) return;
  hideProblem();
  take.pause();
  answer.clearAnswer(language());
  enter("working");
  focusIfLost(cancel, send, ...byId("problem").querySelectorAll("button, input"));
  progress("sending", "Sending …", 0);
  giveUp = upload(filledForm(), { apiKey, onSending, onSent, onEvent, onFailure });
}

function filledForm() {
  const form = new FormData();
  const { blob, name } = take.held();
  form.append("tone", tone());
  form.append("language", language());
  form.append("audio", blob, name);
  return form;
}

const onSending = (fraction) => progress("sending", "Sending …", fraction);
const onSent = () => progress("listening", "Listening …");

const HANDLERS = {
  "transcript.text.delta": ({ delta }) => answer.addTranscript(delta),
  "transcript.text.done": ({ text, truncated }) => {
    answer.setTranscript(text, truncated);
    progress("rewriting", "Rewriting …");
  },
  "output.text.delta": ({ delta }) => answer.addOutput(delta),
  "output.text.done": finish,
  error: onFailure,
};

// An event this page does not know yet is no reason to stop.
const onEvent = (event) => HANDLERS[event.type]?.(event);

function finish(result) {
  answer.setAnswer(result);
  progress("idle", "Done.");
  enter("idle");
  focusIfLost(byId("polite-heading"), cancel);
}

function onFailure(problem) {
  answer.setTranscript(problem.input);
  rest("");
  report(problem);
}

function cancelWork() {
  giveUp();
  rest("Cancelled. Your recording is kept.");
  send.focus();
}

function rest(text) {
  answer.releaseAnswer();
  progress("idle", text);
  enter("idle");
}

/* The controls */

function useKey(event) {
  event.preventDefault();
  apiKey = byId("key").value.trim();
  byId("key").value = "";
  if (apiKey) makePolite();
}

record.addEventListener("click", startOrStop);
byId("again").addEventListener("click", startOrStop);
byId("discard").addEventListener("click", discard);
byId("retry").addEventListener("click", makePolite);
byId("another-file").addEventListener("click", () => file.click());
byId("another-language").addEventListener("click", changeLanguage);
byId("key-form").addEventListener("submit", useKey);
byId("wishes").addEventListener("input", showWishes);
byId("wishes").addEventListener("submit", (event) => {
  event.preventDefault();
  makePolite();
});
cancel.addEventListener("click", cancelWork);
addEventListener("keydown", (event) => event.key === "Escape" && phase === "working" && cancelWork());
file.addEventListener("change", () => {
  choose(file.files[0]);
  file.value = ""; // so that the same file can be chosen twice
});
acceptDrops();
copyButton(byId("copy-transcript"), byId("transcript"), announce);
copyButton(byId("copy-output"), byId("output"), announce);
copyButton(byId("copy-curl"), byId("curl"), announce);

enter("idle");
showWishes();
