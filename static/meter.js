const BAR_PX = 3;
const GAP_PX = 3;
const BAR_MS = 60;

/** Draw the loudness of the last seconds on a canvas: `add(level)` while recording, `clear()` before the next. */
export function levelMeter(canvas) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let levels = [];
  let lastBarAt = 0;

  function draw() {
    const context = prepared(canvas);
    (calm.matches ? drawBar : drawTrace)(context, canvas.clientWidth, canvas.clientHeight, levels);
  }
  function add(level) {
    const now = performance.now();
    if (now - lastBarAt < BAR_MS) {
      levels.push(Math.max(level, levels.pop() ?? 0));
    } else {
      levels.push(level);
      lastBarAt = now;
    }
    levels = levels.slice(-barsIn(canvas.clientWidth));
    draw();
  }
  function clear() {
    levels = [];
    draw();
  }

  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return { add, clear };
}

const barsIn = (width) => Math.max(1, Math.floor(width / (BAR_PX + GAP_PX)));

/** Match the canvas to the screen's pixels; setting its size also wipes it. */
function prepared(canvas) {
  const scale = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  context.scale(scale, scale);
  context.fillStyle = style.color;
  return context;
}

function drawTrace(context, width, height, levels) {
  const bars = barsIn(width);
  for (let bar = 0; bar < bars; bar += 1) {
    const level = levels[levels.length - bars + bar];
    const tall = level === undefined ? BAR_PX : Math.max(BAR_PX, level ** 1.5 * height);
    context.globalAlpha = level === undefined ? 0.25 : 1;
    rounded(context, bar * (BAR_PX + GAP_PX), (height - tall) / 2, BAR_PX, tall);
  }
}

/** Without motion: one bar, as long as it is loud. */
function drawBar(context, width, height, levels) {
  const level = levels.at(-1) ?? 0;
  context.globalAlpha = 0.25;
  rounded(context, 0, height / 2 - 4, width, 8);
  context.globalAlpha = 1;
  rounded(context, 0, height / 2 - 4, level * width, 8);
}

function rounded(context, x, y, width, height) {
  context.beginPath();
  context.roundRect(x, y, width, height, Math.min(width, height) / 2);
  context.fill();
}
