export const byId = (id) => document.getElementById(id);

export function show(element, visible = true) {
  element.hidden = !visible;
}

/** Move focus only when it would be lost otherwise: nobody likes a page that grabs it. */
export function focusIfLost(element, ...leaving) {
  const active = document.activeElement;
  if (active === document.body || active === null || leaving.includes(active)) element.focus();
}

/** Seconds as 0:07. */
export function clockTime(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Seconds as a person says them: 42 s, 3 min, 5 h 12 min. */
export function waitingTime(seconds) {
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Put the text of `source` on the clipboard when `button` is pressed. */
export function copyButton(button, source, announce) {
  button.addEventListener("click", async () => {
    const copied = await copyText(source);
    announce(copied ? "Copied." : "Copying is not allowed here; the text is selected instead.");
    if (!copied) return;
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1600);
  });
}

async function copyText(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    // No clipboard without https, or without permission: the old way still works, or leaves it selected.
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}
