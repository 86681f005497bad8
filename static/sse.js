/**
 * Return a function that takes the whole text received so far and calls
 * `onEvent(data)` once for every server-sent event completed since.
 * Comment lines, the heartbeats, vanish here.
 */
export function eventReader(onEvent) {
  let taken = 0;
  let rest = "";
  return (text) => {
    rest += text.slice(taken);
    taken = text.length;
    const blocks = rest.split(/\r\n\r\n|\n\n|\r\r/);
    rest = blocks.pop();
    blocks.map(eventData).filter(Boolean).forEach((data) => onEvent(JSON.parse(data)));
  };
}

function eventData(block) {
  return block
    .split(/\r\n|\n|\r/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, ""))
    .join("\n");
}
