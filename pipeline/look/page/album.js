/* The album: scripts of data hand over lists, which become pictures and the things in them here.

Every text in them (names of classes, files, reasons) is data: it goes into the page by textContent. */
"use strict";

const KIND = { OBJECT: 0, CROWD: 1, LEFT_OUT: 2, DETECTION: 3, SUSPECT: 4 };
const NOBODY = -1;

const look = {
  index: null,
  pictures: [],
  maskParts: new Map(), // by the number of the part: the masks of its pictures
  waiting: new Map(),

  /* Called by the scripts in data/. */
  take(kind, number, value) {
    if (kind === "index") this.index = value;
    else if (kind === "pictures") this.addPictures(number, value);
    else if (kind === "masks") this.maskParts.set(number, value);
  },

  addPictures(part, rows) {
    const first = part * this.index.picturesAPart;
    rows.forEach((row, n) => { this.pictures[first + n] = pictureOf(row, first + n); });
  },

  /* Loads a script of data, once; the promise ends when it has handed over. */
  load(name) {
    if (!this.waiting.has(name)) {
      this.waiting.set(name, new Promise((done, fail) => {
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onload = () => { script.remove(); done(); };
        script.onerror = () => fail(new Error(`data/${name}.js cannot be loaded`));
        document.head.append(script);
      }));
    }
    return this.waiting.get(name);
  },

  address(folder, picture) {
    const version = this.index.version ? `?v=${this.index.version}` : "";
    return `${folder}/${picture.number}.jpg${version}`;
  },

  className(thing) {
    return thing.category < 0 ? "unknown class" : this.index.classes[thing.category];
  },
};

function pictureOf(row, number) {
  const [name, width, height, split, isLeftOut, hasFile, reasons, things] = row;
  return {
    number, name, width, height, split,
    isLeftOut: Boolean(isLeftOut),
    hasFile: Boolean(hasFile),
    reasons: reasons.map(reasonOf),
    things: things.map(thingOf),
  };
}

function thingOf(row, place) {
  const [kind, category, box, size, partner, score, number, reasons, hasMask] = row;
  return {
    place, kind, category, box, size, partner, score, number,
    reasons: reasons.map(reasonOf),
    hasMask: Boolean(hasMask),
  };
}

function reasonOf(entry) {
  return Array.isArray(entry) ? { code: entry[0], detail: entry[1] } : { code: entry, detail: "" };
}

/* Returns an element with a class and a text. */
function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
