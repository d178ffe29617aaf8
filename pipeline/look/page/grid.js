/* The grid: only the tiles in view exist, however many pictures there are. */
"use strict";

const CAPTION_PX = 24;
const GAP_PX = 8;
const SHAPE = 0.75; // height of a tile's picture for a width of 1
const SETTLING_MS = 40;
const ROWS_BEYOND = 1; // kept ready above and below

class Grid {
  constructor(scroller, space, open) {
    this.scroller = scroller;
    this.space = space;
    this.open = open;
    this.pictures = [];
    this.cursor = 0;
    this.tileWidth = 200;
    this.tiles = new Map(); // by position among the pictures
    this.spare = [];
    this.isAsked = false;
    scroller.addEventListener("scroll", () => this.ask(), { passive: true });
    new ResizeObserver(() => this.ask(true)).observe(scroller);
  }

  show(pictures) {
    const current = this.pictures[this.cursor];
    this.pictures = pictures;
    this.cursor = Math.max(0, current ? pictures.indexOf(current) : 0);
    if (this.cursor === 0) this.scroller.scrollTop = 0;
    this.ask(true);
  }

  resize(tileWidth) {
    this.tileWidth = tileWidth;
    this.ask(true);
    this.reveal();
  }

  /* Draws anew before the next frame. */
  ask(isAll = false) {
    this.isAll = this.isAll || isAll;
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame(() => { this.isAsked = false; this.render(); });
  }

  measure() {
    const room = this.scroller.clientWidth - GAP_PX;
    this.columns = Math.max(1, Math.floor(room / (this.tileWidth + GAP_PX)));
    this.width = Math.floor(room / this.columns) - GAP_PX;
    this.pictureHeight = Math.round(this.width * SHAPE);
    this.rowHeight = this.pictureHeight + CAPTION_PX + GAP_PX;
  }

  render() {
    if (!this.scroller.clientWidth) return; // the filters lie over it
    this.measure();
    const rows = Math.ceil(this.pictures.length / this.columns);
    this.space.style.height = `${rows * this.rowHeight + GAP_PX}px`;
    const top = this.scroller.scrollTop, height = this.scroller.clientHeight;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - ROWS_BEYOND) * this.columns;
    const lastRow = Math.ceil((top + height) / this.rowHeight) + ROWS_BEYOND;
    const last = Math.min(this.pictures.length, lastRow * this.columns);
    for (const [position, tile] of this.tiles) {
      if (position < first || position >= last) this.put(position, tile);
    }
    for (let position = first; position < last; position += 1) {
      const tile = this.tiles.get(position) || this.take(position);
      if (this.isAll || tile.picture !== this.pictures[position]) this.fill(tile, position);
    }
    this.isAll = false;
  }

  /* Lays a tile aside that is out of view. */
  put(position, tile) {
    this.tiles.delete(position);
    tile.picture = null;
    tile.image.removeAttribute("src"); // ends its download
    tile.button.hidden = true;
    this.spare.push(tile);
  }

  take(position) {
    const tile = this.spare.pop() || this.make();
    tile.button.hidden = false;
    this.tiles.set(position, tile);
    return tile;
  }

  make() {
    const button = element("button", "tile");
    button.type = "button";
    const frame = element("span", "frame");
    const image = element("img");
    image.alt = "";
    image.decoding = "async";
    const canvas = element("canvas");
    const caption = element("span", "caption");
    frame.append(image, canvas);
    button.append(frame, caption);
    this.space.append(button);
    const tile = { button, frame, image, canvas, caption, picture: null, position: 0 };
    button.addEventListener("click", () => { this.cursor = tile.position; this.open(tile.position); });
    button.addEventListener("focus", () => { this.cursor = tile.position; });
    image.addEventListener("error", () => {
      if (tile.picture) button.classList.add("broken");
    });
    return tile;
  }

  fill(tile, position) {
    const picture = this.pictures[position];
    const column = position % this.columns, row = Math.floor(position / this.columns);
    const { button, frame, image, caption } = tile;
    button.style.width = `${this.width}px`;
    button.style.transform = `translate(${GAP_PX + column * (this.width + GAP_PX)}px, `
      + `${GAP_PX + row * this.rowHeight}px)`;
    frame.style.height = `${this.pictureHeight}px`;
    if (tile.picture !== picture) {
      tile.picture = picture;
      button.classList.remove("broken");
      caption.textContent = picture.name;
      button.title = picture.name;
      image.removeAttribute("src");
      if (picture.hasFile) this.fetch(tile, picture);
      else button.classList.add("broken");
    }
    tile.position = position;
    button.tabIndex = position === this.cursor ? 0 : -1;
    button.classList.toggle("left-out", picture.isLeftOut);
    this.overlay(tile);
  }

  /* Asks for a tile's picture, unless it has rushed by. */
  fetch(tile, picture) {
    setTimeout(() => {
      if (tile.picture === picture) tile.image.src = look.address("thumbs", picture);
    }, SETTLING_MS);
  }

  overlay(tile) {
    const { picture, canvas } = tile;
    const width = picture.width || 4, height = picture.height || 3;
    const scale = Math.min(this.width / width, this.pictureHeight / height);
    const seen = [Math.max(1, width * scale), Math.max(1, height * scale)];
    for (const each of [tile.image, canvas]) {
      each.style.width = `${seen[0]}px`;
      each.style.height = `${seen[1]}px`;
    }
    drawThings(canvas, picture, ...seen);
    if (shown.masks) {
      loadMasks(picture).then((isNew) => {
        if (isNew || tile.picture !== picture) this.ask(true);
      }, () => {});
    }
  }

  /* Moves the cursor, and the focus with it. */
  move(steps) {
    const last = this.pictures.length - 1;
    this.cursor = Math.min(Math.max(this.cursor + steps, 0), Math.max(last, 0));
    this.reveal();
    this.render();
    const tile = this.tiles.get(this.cursor);
    if (tile) tile.button.focus({ preventScroll: true });
  }

  /* Scrolls so far that the cursor is in view. */
  reveal() {
    this.measure();
    const top = Math.floor(this.cursor / this.columns) * this.rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight) {
      this.scroller.scrollTop = top + this.rowHeight - clientHeight + GAP_PX;
    }
  }
}
