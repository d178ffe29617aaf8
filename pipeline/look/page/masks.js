/* Masks: COCO's compressed run lengths become shapes that a canvas fills. */
"use strict";

const shapes = new WeakMap();

/* Returns the run lengths behind compressed counts: groups of five bits, lowest first, a character
a group; from the fourth number on each is the difference to the last but one. */
function runLengths(counts) {
  const lengths = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, group;
    do {
      group = counts.charCodeAt(at++) - 48;
      value += (group & 31) * 2 ** shift;
      shift += 5;
    } while (group & 32 && at < counts.length);
    if (group & 16) value -= 2 ** shift;
    if (lengths.length > 2) value += lengths[lengths.length - 2];
    lengths.push(value);
  }
  return lengths;
}

/* Returns the shape of a mask: runs go down the columns, and begin outside of it. */
function shapeOf(counts, height) {
  const path = new Path2D();
  let at = 0, isInside = false;
  let x = -1, y = 0, wide = 0, tall = 0;
  const flush = () => { if (wide) path.rect(x, y, wide, tall); wide = 0; };
  for (const length of runLengths(counts)) {
    let left = isInside ? length : 0;
    let from = at;
    while (left > 0) {
      const column = Math.floor(from / height), row = from % height;
      const here = Math.min(left, height - row);
      if (wide && column === x + wide && row === y && here === tall) wide += 1;
      else { flush(); x = column; y = row; tall = here; wide = 1; }
      from += here;
      left -= here;
    }
    at += length;
    isInside = !isInside;
  }
  flush();
  return path;
}

/* Returns the shape of a thing's mask; null where it has none, or its part is not loaded. */
function maskShape(picture, thing) {
  if (!thing.hasMask) return null;
  if (!shapes.has(thing)) {
    const part = look.maskParts.get(maskPart(picture));
    if (!part) return null;
    const masks = part[picture.number % look.index.picturesAPart];
    const found = masks.find(([place]) => place === thing.place);
    shapes.set(thing, found ? shapeOf(found[1], picture.height) : null);
  }
  return shapes.get(thing);
}

function maskPart(picture) {
  return Math.floor(picture.number / look.index.picturesAPart);
}

/* Loads the masks of a picture, where it has any; true where that took place now. */
async function loadMasks(picture) {
  const part = maskPart(picture);
  if (look.maskParts.has(part) || !picture.things.some((thing) => thing.hasMask)) return false;
  await look.load(`masks-${part}`);
  return true;
}
