import { byId, show, focusIfLost, waitingTime } from "./dom.js";
import { describe } from "./problems.js";

const panel = byId("problem");
const retry = byId("retry");
const OFFERS = {
  retry: "retry",
  record: "again",
  file: "another-file",
  language: "another-language",
  key: "key-form",
};
let countdown;

export function hideProblem() {
  clearInterval(countdown);
  show(panel, false);
}

/** Show what went wrong and the ways to go on; `leaving` are the controls about to vanish. */
export function showProblem(problem, announce, leaving = []) {
  const { title, message, offers } = describe(problem);
  hideProblem();
  show(panel);
  byId("problem-title").textContent = title;
  byId("problem-message").textContent = message;
  byId("problem-code").textContent = reference(problem);
  for (const [offer, id] of Object.entries(OFFERS)) show(byId(id), offers.includes(offer));
  if (offers.includes("retry")) countDown(problem.retryAfterS || 0, announce);
  focusIfLost(offers.includes("key") ? byId("key") : panel, ...leaving);
  panel.scrollIntoView({ block: "nearest" });
}

const reference = ({ code, request_id: id }) => (id ? `${code} · request ${id}` : code);

/** Hold the retry button back until the service will take it; outside the alert, or every second is read out. */
function countDown(seconds, announce) {
  const readyAt = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((readyAt - Date.now()) / 1000);
    retry.disabled = left > 0;
    retry.textContent = left > 0 ? `Try again in ${waitingTime(left)}` : "Try again";
    if (left > 0) return;
    clearInterval(countdown);
    if (seconds) announce("You can try again now.");
  };
  countdown = setInterval(tick, 250);
  tick();
}
