import { byId, show } from "./dom.js";

/** The recording in hand: `hold(blob, name, label)`, `discard()`, and `held()` for what is there. */
export function takeInHand() {
  const player = byId("playback");
  let take = null;

  function discard() {
    if (take) URL.revokeObjectURL(player.src);
    take = null;
    player.removeAttribute("src");
    player.load();
    show(byId("take"), false);
  }
  function hold(blob, name, label) {
    discard();
    take = { blob, name };
    player.src = URL.createObjectURL(blob);
    byId("take-name").textContent = label;
    show(byId("take"));
  }

  player.addEventListener("loadedmetadata", () => findLength(player));
  return { hold, discard, held: () => take, pause: () => player.pause() };
}

/** Browsers record without writing down the length; seeking past the end makes them look for it. */
function findLength(player) {
  if (player.duration !== Infinity) return;
  player.addEventListener("durationchange", () => (player.currentTime = 0), { once: true });
  player.currentTime = Number.MAX_SAFE_INTEGER;
}

/** A size in bytes as a person reads it. */
export function sizeLabel(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
