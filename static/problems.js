// What each code means to the person at the page: a title, words of our own where the service sent none, and the ways to
// go on (retry, record, file, language, key). The service's own sentence is shown when there is one.
const PROBLEMS = {
  microphone_refused: {
    title: "The microphone is not allowed",
    message: "Allow it for this page in the browser’s address bar and try once more, or choose a file instead.",
    offers: ["record", "file"],
  },
  microphone_absent: {
    title: "No microphone found",
    message: "Plug one in and try once more, or choose a file instead.",
    offers: ["record", "file"],
  },
  microphone_busy: {
    title: "The microphone cannot be used",
    message: "Another program may be holding it. Close that and try once more, or choose a file instead.",
    offers: ["record", "file"],
  },
  microphone_unavailable: {
    title: "Recording is not possible here",
    message: "This browser records only on pages that came over https or from this computer. A file works all the same.",
    offers: ["file"],
  },
  nothing_recorded: {
    title: "Nothing was recorded",
    message: "The microphone gave no sound. Try once more, or choose a file instead.",
    offers: ["record", "file"],
  },
  missing_audio: { title: "There was no recording", offers: ["record", "file"] },
  empty_audio: { title: "The recording is empty", offers: ["record", "file"] },
  too_large: {
    title: "The recording is too large",
    message: "Record something shorter, or choose a smaller file.",
    offers: ["record", "file"],
  },
  undecodable_audio: { title: "This does not sound like a recording", offers: ["file", "record"] },
  no_speech: { title: "No words were heard", offers: ["record", "file", "language", "retry"] },
  bad_language: { title: "That language is not understood", offers: ["language"] },
  bad_tone: { title: "That tone is not known", offers: ["retry"] },
  unauthorized: {
    title: "This service wants an API key",
    message: "Enter yours to go on.",
    offers: ["key"],
  },
  rate_limited: {
    title: "That was a lot in a short time",
    message: "Your recording is kept.",
    offers: ["retry"],
  },
  overloaded: {
    title: "Busy just now",
    message: "Your recording is kept.",
    offers: ["retry"],
  },
  transcription_failed: { title: "The recording could not be written down", offers: ["retry"] },
  transcription_timeout: { title: "Listening took too long", offers: ["retry"] },
  refinement_failed: { title: "Heard, but not rewritten", offers: ["retry"] },
  refinement_timeout: { title: "Rewriting took too long", offers: ["retry"] },
  connection_lost: {
    title: "The connection was lost",
    message: "Your recording is kept. Check the network and try again.",
    offers: ["retry"],
  },
  upload_broke_off: {
    title: "The upload broke off",
    message: "Your recording is kept. Check the network and try again; if it is very long, a shorter one may get through.",
    offers: ["retry", "file"],
  },
};

const UNKNOWN = {
  title: "Something went wrong",
  message: "Your recording is kept. Trying again may help.",
  offers: ["retry", "file"],
};

/** Return `{title, message, offers}` for a problem `{code, error?}`. */
export function describe({ code, error }) {
  const known = { ...UNKNOWN, ...PROBLEMS[code] };
  return { ...known, message: error || known.message };
}
