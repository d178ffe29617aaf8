/* One picture, large, with the list of what lies in it. */
"use strict";

const MOST_LISTED = 400;

class Viewer {
  constructor(dialog, leave) {
    this.dialog = dialog;
    this.leave = leave;
    this.pictures = [];
    this.position = 0;
    this.selected = null;
    this.isWhole = false; // pixel by pixel
    const at = (id) => document.getElementById(id);
    this.image = at("picture");
    this.canvas = at("overlay");
    this.parts = { place: at("place"), name: at("name"), facts: at("facts"), flaws: at("flaws"),
      things: at("things"), none: at("no-picture"), stage: dialog.querySelector(".stage") };
    at("previous").addEventListener("click", () => this.step(-1));
    at("next").addEventListener("click", () => this.step(1));
    at("close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.leave(this.position));
    this.image.addEventListener("load", () => this.draw());
    this.image.addEventListener("error", () => this.say("The picture cannot be shown."));
    new ResizeObserver(() => this.draw()).observe(this.parts.stage);
  }

  get isOpen() { return this.dialog.open; }

  get picture() { return this.pictures[this.position]; }

  open(pictures, position) {
    this.pictures = pictures;
    if (!this.isOpen) this.dialog.showModal();
    this.go(position);
  }

  step(steps) { this.go(this.position + steps); }

  go(position) {
    if (position < 0 || position >= this.pictures.length) return;
    this.position = position;
    this.selected = null;
    const { picture, image } = this;
    this.parts.none.hidden = true;
    image.hidden = this.canvas.hidden = false;
    if (picture.hasFile) image.src = look.address("pictures", picture);
    else this.say("The picture itself is not here.");
    this.preload(position + 1);
    this.tell();
    this.draw();
    this.dialog.querySelector(".beside").scrollTop = 0;
    if (shown.masks) loadMasks(picture).then((isNew) => { if (isNew) this.draw(); }, () => {});
  }

  preload(position) {
    const next = this.pictures[position];
    if (next && next.hasFile) new Image().src = look.address("pictures", next);
  }

  say(text) {
    this.image.hidden = this.canvas.hidden = true;
    this.parts.none.hidden = false;
    this.parts.none.textContent = text;
  }

  /* Draws what lies in the picture; the picture fills the stage unless it is seen whole. */
  draw() {
    const { picture } = this;
    if (!picture || !this.isOpen || this.canvas.hidden) return;
    const width = picture.width || this.image.naturalWidth || 4;
    const height = picture.height || this.image.naturalHeight || 3;
    const { clientWidth, clientHeight } = this.parts.stage;
    const scale = this.isWhole ? 1 : Math.min(clientWidth / width, clientHeight / height);
    const seen = [width * scale, height * scale];
    for (const each of [this.image, this.canvas]) {
      each.style.width = `${seen[0]}px`;
      each.style.height = `${seen[1]}px`;
    }
    this.parts.stage.classList.toggle("whole", this.isWhole);
    drawThings(this.canvas, picture, ...seen, { selected: this.selected, hasLabels: true });
  }

  tell() {
    const { picture, parts } = this;
    parts.place.textContent = `${this.position + 1} of ${this.pictures.length}`;
    parts.name.textContent = picture.name;
    const split = look.index.splits[picture.split];
    parts.facts.textContent = [
      `${picture.width} × ${picture.height} pixels`, split, picture.isLeftOut ? "left out" : "",
    ].filter(Boolean).join(", ");
    parts.flaws.replaceChildren(...picture.reasons.map((reason) => reasonLine(reason)));
    const listed = drawnThings(picture);
    const rows = listed.slice(0, MOST_LISTED).map((thing) => this.row(thing));
    if (listed.length > MOST_LISTED) {
      rows.push(element("li", "soft", `and ${listed.length - MOST_LISTED} more`));
    }
    parts.things.replaceChildren(...rows);
  }

  row(thing) {
    const row = element("li");
    const button = element("button", "thing");
    button.type = "button";
    const swatch = element("span", "swatch");
    swatch.style.background = colourOf(this.picture, thing);
    const words = [describe(this.picture, thing)];
    button.append(swatch, element("strong", "", look.className(thing)), ` ${words.join(" ")}`);
    const choose = (chosen) => { this.selected = chosen; this.draw(); };
    button.addEventListener("pointerenter", () => choose(thing));
    button.addEventListener("pointerleave", () => choose(null));
    button.addEventListener("focus", () => choose(thing));
    button.addEventListener("click", () => choose(thing));
    row.append(button, ...thing.reasons.map((reason) => reasonLine(reason, "p")));
    return row;
  }

  again() {
    if (!this.isOpen) return;
    this.tell();
    this.draw();
  }
}

function describe(picture, thing) {
  const kinds = ["", "crowd", "left out", "detection", "suspected"];
  const size = thing.box ? `${Math.round(thing.box[2])} × ${Math.round(thing.box[3])}` : "no box";
  const score = thing.score === null ? "" : `score ${thing.score.toFixed(2)}`;
  const number = thing.number === null ? "" : `id ${thing.number}`;
  const mask = thing.hasMask ? "mask" : "";
  return [kinds[thing.kind], outcomeOf(picture, thing), score, size, mask, number]
    .filter(Boolean).join(", ");
}

function reasonLine(reason, name = "li") {
  const [code, meaning] = look.index.reasons[reason.code];
  const line = element(name, "reason");
  line.append(element("code", "", code), ` ${reason.detail || meaning}`);
  line.title = meaning;
  return line;
}
