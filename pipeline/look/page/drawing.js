/* Boxes, masks and labels on a canvas over a picture. */
"use strict";

const shown = {
  boxes: true, masks: true, labels: true, objects: true, detections: true, all: false,
  byClass: true,
};

// Okabe and Ito's colours: apart for every kind of colour vision.
const OUTCOME_COLOURS = { found: "#56b4e9", right: "#009e73", missed: "#e69f00", wrong: "#d55e00" };
const SUSPECTED = "#cc79a7";
const NEUTRAL = "#9a9a9a";
const GOLDEN_ANGLE = 137.508;

function classColour(category) {
  if (category < 0) return NEUTRAL;
  return `hsl(${(category * GOLDEN_ANGLE + 190) % 360} 85% ${[52, 62, 44][category % 3]}%)`;
}

function colourOf(picture, thing) {
  if (thing.kind === KIND.LEFT_OUT) return NEUTRAL;
  if (thing.kind === KIND.SUSPECT) return SUSPECTED;
  if (shown.byClass) return classColour(thing.category);
  return OUTCOME_COLOURS[outcomeOf(picture, thing)] || NEUTRAL;
}

function isDashed(picture, thing) {
  return [KIND.LEFT_OUT, KIND.CROWD, KIND.SUSPECT].includes(thing.kind)
    || outcomeOf(picture, thing) === "missed";
}

/* Returns the things of a picture that are to be drawn. */
function drawnThings(picture) {
  return picture.things.filter((thing) => {
    const isDetection = thing.kind === KIND.DETECTION;
    if (isDetection ? !shown.detections : !shown.objects) return false;
    if (thing.kind === KIND.SUSPECT && !filters.reasons.size) return false; // only where asked for
    if (outcomeOf(picture, thing) === null) return false;
    return shown.all || fits(picture, thing);
  });
}

/* Draws a picture's things.

canvas: of the size of the picture as it is seen, in CSS pixels.
selected: a thing that stands out; null for none.
hasLabels: whether there is room for texts. */
function drawThings(canvas, picture, width, height, { selected = null, hasLabels = false } = {}) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const pen = canvas.getContext("2d");
  if (!picture.width || !picture.height) return;
  const scale = { x: canvas.width / picture.width, y: canvas.height / picture.height };
  const things = drawnThings(picture);
  if (shown.masks) for (const thing of things) fillMask(pen, picture, thing, scale);
  if (shown.boxes) {
    for (const thing of things) {
      const isBold = thing === selected;
      strokeBox(pen, picture, thing, scale, ratio, isBold ? 4 : hasLabels ? 2 : 1.5);
    }
  }
  if (hasLabels && shown.labels) {
    for (const thing of things) writeLabel(pen, picture, thing, scale, ratio);
  }
  if (selected && things.includes(selected)) {
    writeLabel(pen, picture, selected, scale, ratio);
  }
}

function fillMask(pen, picture, thing, scale) {
  const shape = maskShape(picture, thing);
  if (!shape) return;
  pen.save();
  pen.scale(scale.x, scale.y);
  pen.globalAlpha = 0.42;
  pen.fillStyle = colourOf(picture, thing);
  pen.fill(shape);
  pen.restore();
}

/* Returns [left, top, right, bottom] in the canvas's pixels; a box far outside ends near it. */
function cornersOf(pen, thing, scale) {
  const [x, y, width, height] = thing.box;
  const near = (value, side) => Math.min(Math.max(value, -side), 2 * side);
  return [
    near(x * scale.x, pen.canvas.width), near(y * scale.y, pen.canvas.height),
    near((x + width) * scale.x, pen.canvas.width), near((y + height) * scale.y, pen.canvas.height),
  ];
}

function strokeBox(pen, picture, thing, scale, ratio, lineWidth) {
  if (!thing.box) return;
  const [left, top, right, bottom] = cornersOf(pen, thing, scale);
  pen.setLineDash(isDashed(picture, thing) ? [5 * ratio, 4 * ratio] : []);
  pen.lineWidth = (lineWidth + 1.5) * ratio;
  pen.strokeStyle = "rgb(0 0 0 / 45%)"; // seen on bright pictures, too
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.lineWidth = lineWidth * ratio;
  pen.strokeStyle = colourOf(picture, thing);
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.setLineDash([]);
}

function writeLabel(pen, picture, thing, scale, ratio) {
  if (!thing.box) return;
  const score = thing.score === null ? "" : ` ${thing.score.toFixed(2)}`;
  const text = look.className(thing).slice(0, 40) + score;
  const [left, top] = cornersOf(pen, thing, scale);
  pen.font = `${12 * ratio}px system-ui, sans-serif`;
  const width = pen.measureText(text).width + 8 * ratio, height = 17 * ratio;
  const x = Math.min(Math.max(left, 0), Math.max(pen.canvas.width - width, 0));
  const y = Math.max(top - height, 0);
  pen.fillStyle = "rgb(0 0 0 / 72%)";
  pen.fillRect(x, y, width, height);
  pen.fillStyle = colourOf(picture, thing);
  pen.fillRect(x, y, 3 * ratio, height);
  pen.fillStyle = "#fff";
  pen.textBaseline = "middle";
  pen.fillText(text, x + 5 * ratio, y + height / 2 + ratio / 2);
}
