/* The page: loads the album, builds the filters, listens to buttons and keys. */
"use strict";

const at = (id) => document.getElementById(id);
const viewer = new Viewer(at("viewer"), (position) => { leaveAddress(); grid.move(position - grid.cursor); });
const grid = new Grid(at("grid"), at("space"), (position) => openPicture(position));

const FACETS = {
  outcomes: { entries: () => ["found", "missed", "wrong"].map((name) => [name, name]), of: countOutcomes },
  splits: { entries: () => look.index.splits.map((name, n) => [n, name]), of: countSplits },
  classes: { entries: () => classEntries(), of: countClasses },
  sizes: { entries: () => look.index.sizes.map((name, n) => [n, name]), of: countSizes },
  reasons: { entries: () => look.index.reasons.map(([code, meaning], n) => [n, code, meaning]), of: countReasons },
};

function classEntries() {
  const named = look.index.classes.map((name, n) => [n, name]);
  return [...named, [-1, "unknown class"]];
}

function countInto(counts, value) {
  counts.set(value, (counts.get(value) || 0) + 1);
}

function countSplits(counts, picture) { countInto(counts, picture.split); }
function countClasses(counts, picture, thing) { if (thing) countInto(counts, thing.category); }
function countSizes(counts, picture, thing) { if (thing) countInto(counts, thing.size); }
function countReasons(counts, picture, thing) {
  for (const reason of (thing || picture).reasons) countInto(counts, reason.code);
}
function countOutcomes(counts, picture, thing) {
  const outcome = thing && outcomeOf(picture, thing);
  if (outcome && outcome !== "right") countInto(counts, outcome);
}

/* Returns the counts of each facet over the whole album. */
function countAll() {
  const counts = Object.fromEntries(Object.keys(FACETS).map((name) => [name, new Map()]));
  for (const picture of look.pictures) {
    if (!picture) continue;
    countSplits(counts.splits, picture);
    countReasons(counts.reasons, picture);
    for (const thing of picture.things) {
      const isObject = thing.kind < KIND.DETECTION;
      if (isObject) countClasses(counts.classes, picture, thing);
      if (isObject) countSizes(counts.sizes, picture, thing);
      countReasons(counts.reasons, picture, thing);
      countOutcomes(counts.outcomes, picture, thing);
    }
  }
  return counts;
}

/* Writes the choices of each facet, with how many there are of each. */
function showFacets() {
  const counts = countAll();
  for (const [name, facet] of Object.entries(FACETS)) {
    const box = at(name);
    const isSparse = name === "reasons" || name === "classes";
    const entries = facet.entries().filter(([value]) => !isSparse || counts[name].get(value)
      || filters[name].has(value));
    if (name === "reasons" || name === "classes") {
      entries.sort(([a], [b]) => (counts[name].get(b) || 0) - (counts[name].get(a) || 0) || a - b);
    }
    const choices = entries.map(([value, text, title]) =>
      choice(name, value, text, counts[name].get(value) || 0, title));
    for (const old of box.querySelectorAll(".choice")) old.remove();
    box.append(...choices);
    const isUseful = { splits: entries.length > 1, outcomes: look.index.hasDetections,
      reasons: entries.length > 0 }[name] ?? true;
    box.hidden = !isUseful;
  }
  at("class-text").hidden = look.index.classes.length < 12;
  narrowClasses();
}

function choice(name, value, text, count, title = "") {
  const label = element("label", "choice");
  const box = element("input");
  box.type = "checkbox";
  box.checked = filters[name].has(value);
  box.addEventListener("change", () => {
    if (box.checked) filters[name].add(value);
    else filters[name].delete(value);
    refresh();
  });
  label.title = title || text;
  label.append(box, element("span", "choice-text", text), element("span", "soft", count.toLocaleString("en")));
  if (name === "classes") {
    const swatch = element("span", "swatch");
    swatch.style.background = classColour(value);
    box.after(swatch);
  }
  return label;
}

function narrowClasses() {
  const wanted = at("class-text").value.trim().toLowerCase();
  for (const label of at("classes").querySelectorAll(".choice")) {
    label.hidden = !label.textContent.toLowerCase().includes(wanted);
  }
}

/* Shows the pictures that fit, and how many. */
function refresh() {
  const chosen = chosenPictures();
  grid.show(chosen);
  const loaded = look.pictures.reduce((sum, picture) => sum + (picture ? 1 : 0), 0);
  const total = look.index.pictures;
  const rest = loaded < total ? `, ${loaded.toLocaleString("en")} loaded` : "";
  at("count").textContent =
    `${chosen.length.toLocaleString("en")} of ${total.toLocaleString("en")} pictures${rest}`;
  at("nothing").hidden = chosen.length > 0 || loaded < total;
  viewer.again();
}

function redraw() {
  grid.ask(true);
  viewer.again();
}

function openPicture(position) {
  viewer.open(grid.pictures, position);
  history.replaceState(null, "", `#${grid.pictures[position].number}`);
}

function leaveAddress() {
  history.replaceState(null, "", location.pathname + location.search);
}

function toggle(name) {
  const button = document.querySelector(`[data-toggle="${name}"]`);
  if (!button || button.hidden) return;
  shown[name] = !shown[name];
  button.setAttribute("aria-pressed", String(shown[name]));
  redraw();
}

function showFilters(isOpen) {
  document.body.classList.toggle("filtering", isOpen);
  at("show-filters").setAttribute("aria-expanded", String(isOpen));
}

function showScores() {
  at("from").value = filters.from;
  at("to").value = filters.to;
  at("from-value").textContent = Number(filters.from).toFixed(2);
  at("to-value").textContent = Number(filters.to).toFixed(2);
}

function reset() {
  resetFilters();
  at("text").value = at("class-text").value = at("which").value = "";
  showScores();
  showFacets();
  refresh();
}

function resizeTiles(step) {
  const slider = at("tile");
  slider.value = Number(slider.value) + step;
  grid.resize(Number(slider.value));
}

const KEYS = {
  "?": () => at("help").showModal(),
  "/": () => { showFilters(true); at("text").focus(); },
  f: () => showFilters(!document.body.classList.contains("filtering")),
  b: () => toggle("boxes"),
  m: () => toggle("masks"),
  l: () => toggle("labels"),
  o: () => toggle("objects"),
  d: () => toggle("detections"),
  a: () => toggle("all"),
  c: () => { shown.byClass = !shown.byClass; redraw(); },
  r: () => reset(),
  z: () => { viewer.isWhole = !viewer.isWhole; viewer.draw(); },
  "+": () => resizeTiles(30),
  "=": () => resizeTiles(30),
  "-": () => resizeTiles(-30),
};
const GRID_KEYS = {
  ArrowRight: () => grid.move(1), ArrowLeft: () => grid.move(-1),
  ArrowDown: () => grid.move(grid.columns), ArrowUp: () => grid.move(-grid.columns),
  PageDown: () => grid.move(grid.columns * 4), PageUp: () => grid.move(-grid.columns * 4),
  Home: () => grid.move(-grid.pictures.length), End: () => grid.move(grid.pictures.length),
  j: () => grid.move(1), k: () => grid.move(-1),
  Enter: () => { if (grid.pictures.length) openPicture(grid.cursor); },
};
const VIEWER_KEYS = {
  ArrowRight: () => viewer.step(1), ArrowLeft: () => viewer.step(-1),
  j: () => viewer.step(1), k: () => viewer.step(-1),
  Home: () => viewer.go(0), End: () => viewer.go(viewer.pictures.length - 1),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  const isTyping = target.matches("input[type=search], select");
  if (isTyping) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  if (at("help").open) return;
  if (event.key === "Enter" && target.matches("button, input")) return; // its own click
  if (event.key === "Escape" && !viewer.isOpen) showFilters(false);
  const own = viewer.isOpen ? VIEWER_KEYS : GRID_KEYS;
  const act = own[event.key] || KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
  if (viewer.isOpen && own[event.key]) {
    history.replaceState(null, "", `#${viewer.picture.number}`);
  }
}

function listen() {
  document.addEventListener("keydown", onKey);
  for (const button of document.querySelectorAll(".toggle")) {
    button.addEventListener("click", () => toggle(button.dataset.toggle));
  }
  at("show-help").addEventListener("click", () => at("help").showModal());
  at("show-filters").addEventListener("click", () => KEYS.f());
  at("hide-filters").addEventListener("click", () => showFilters(false));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", (event) => { event.preventDefault(); reset(); });
  at("tile").addEventListener("input", () => resizeTiles(0));
  at("order").addEventListener("change", () => { filters.order = at("order").value; refresh(); });
  at("which").addEventListener("change", () => { filters.which = at("which").value; refresh(); });
  at("text").addEventListener("input", () => {
    filters.text = at("text").value.trim().toLowerCase();
    refresh();
  });
  at("class-text").addEventListener("input", narrowClasses);
  for (const name of ["from", "to"]) {
    at(name).addEventListener("input", () => {
      filters[name] = Number(at(name).value);
      showScores();
      refresh();
    });
    at(name).addEventListener("change", showFacets);
  }
}

/* Fits the page to what the album has. */
function prepare() {
  const { index } = look;
  document.title = `${index.title} – tfx-rcnn look`;
  at("title").textContent = index.title;
  at("title").title = index.title;
  shown.byClass = !index.hasDetections;
  const has = { masks: index.hasMasks, objects: index.hasDetections, detections: index.hasDetections };
  for (const [name, isThere] of Object.entries(has)) {
    document.querySelector(`[data-toggle="${name}"]`).hidden = !isThere;
  }
  shown.masks = index.hasMasks;
  if (innerWidth < 760) at("tile").value = 160; // two columns
  grid.tileWidth = Number(at("tile").value);
  const errors = at("order").querySelector("[value=errors]");
  errors.hidden = errors.disabled = !index.hasDetections;
  at("scores").hidden = !index.hasDetections;
  resetFilters();
  showScores();
  at("legend").replaceChildren(...(index.hasDetections ? legend() : []));
}

function legend() {
  return Object.entries(OUTCOME_COLOURS).map(([name, colour]) => {
    const entry = element("span", "legend-entry");
    const swatch = element("span", "swatch");
    swatch.style.background = colour;
    entry.append(swatch, ` ${name} ${name === "right" ? "(detection)" : ""}`);
    return entry;
  });
}

async function start() {
  listen();
  try {
    await look.load("index");
    prepare();
    const parts = Math.ceil(look.index.pictures / look.index.picturesAPart);
    for (let part = 0; part < parts; part += 1) {
      await look.load(`pictures-${part}`);
      refresh();
      showFacets();
    }
    refresh();
  } catch (error) {
    at("count").textContent = error.message;
    return;
  }
  const wanted = grid.pictures.findIndex((picture) => `#${picture.number}` === location.hash);
  if (wanted >= 0) openPicture(wanted);
  document.body.dataset.state = "ready";
}

start();
