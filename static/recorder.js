// In the order of preference; Safari offers MP4 only.
const CONTAINERS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
// What browsers do to make calls pleasant costs recognisers the first syllables; they hear the plain sound better.
const PLAIN = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
// About a megabyte a minute; at half of that the codec begins to cost words.
const BITS_PER_SECOND = 128_000;
const QUIETEST_DB = -50;
const LOUDEST_DB = -10;

const MICROPHONE_PROBLEMS = {
  NotAllowedError: "microphone_refused",
  SecurityError: "microphone_refused",
  NotFoundError: "microphone_absent",
  OverconstrainedError: "microphone_absent",
  NotReadableError: "microphone_busy",
  AbortError: "microphone_busy",
};

/**
 * Record from the microphone until the returned function is called or the microphone goes away.
 *
 * `onLevel(level)` gets the loudness, 0 to 1, for every frame drawn; `onEnd(blob)` the recording.
 * Throws `{code}` when there is no microphone to be had.
 */
export async function startRecording({ onLevel, onEnd }) {
  const stream = await microphone();
  try {
    return recordFrom(stream, onLevel, onEnd);
  } catch {
    close(stream);
    throw { code: "microphone_unavailable" };
  }
}

/** Return the file name ending that goes with a recording's type, for example "webm". */
export function endingFor(type) {
  const [, subtype] = type.split(";")[0].split("/");
  return subtype === "mp4" ? "m4a" : subtype || "webm";
}

async function microphone() {
  // Browsers hide the microphone from pages that came over plain http.
  if (!navigator.mediaDevices || !window.MediaRecorder) throw { code: "microphone_unavailable" };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
  } catch (error) {
    throw { code: MICROPHONE_PROBLEMS[error.name] || "microphone_unavailable" };
  }
}

function recordFrom(stream, onLevel, onEnd) {
  const recorder = new MediaRecorder(stream, recorderOptions());
  const chunks = [];
  recorder.ondataavailable = (event) => chunks.push(event.data);
  recorder.start(); // before anything that takes time: people start talking at once
  const stopWatching = watchLevel(stream, onLevel);
  recorder.onstop = () => {
    stopWatching();
    close(stream);
    onEnd(new Blob(chunks, { type: recorder.mimeType }));
  };
  return () => recorder.state === "inactive" || recorder.stop();
}

const close = (stream) => stream.getTracks().forEach((track) => track.stop());

function recorderOptions() {
  const mimeType = CONTAINERS.find((type) => MediaRecorder.isTypeSupported(type));
  return { audioBitsPerSecond: BITS_PER_SECOND, ...(mimeType && { mimeType }) };
}

function watchLevel(stream, onLevel) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  const samples = new Float32Array(analyser.fftSize);
  let frame;
  const look = () => {
    analyser.getFloatTimeDomainData(samples);
    // A suspended context measures nothing, which is not the same as silence.
    if (context.state === "running") onLevel(loudness(samples));
    frame = requestAnimationFrame(look);
  };
  context.createMediaStreamSource(stream).connect(analyser);
  context.resume();
  look();
  return () => {
    cancelAnimationFrame(frame);
    context.close();
  };
}

/** Loudness in decibels between the quietest and the loudest shown, as 0 to 1. */
function loudness(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const db = 10 * Math.log10(power || Number.MIN_VALUE);
  return Math.min(1, Math.max(0, (db - QUIETEST_DB) / (LOUDEST_DB - QUIETEST_DB)));
}
