/* Which pictures are shown, and which of the things in them: no elements here. */
"use strict";

const filters = {};
resetFilters();

function resetFilters() {
  Object.assign(filters, {
    text: "",
    which: "",
    splits: new Set(), // positions; an empty set lets all through, here and below
    classes: new Set(),
    sizes: new Set(),
    reasons: new Set(), // codes
    outcomes: new Set(), // "found", "missed", "wrong"
    from: look.index ? look.index.score : 0,
    to: 1,
    order: filters.order || "file",
  });
}

/* Returns what became of a thing at the score that is chosen: found, missed, right, wrong, or ""
where nobody judged it; null for a detection that does not count. */
function outcomeOf(picture, thing) {
  if (thing.kind === KIND.DETECTION) {
    if (thing.score < filters.from || thing.score > filters.to) return null;
    if (thing.partner === NOBODY) return "wrong";
    return thing.partner < 0 ? "" : "right";
  }
  if (thing.kind !== KIND.OBJECT || thing.partner < NOBODY) return "";
  const finder = thing.partner < 0 ? null : picture.things[thing.partner];
  return finder && finder.score >= filters.from ? "found" : "missed";
}

function passes(set, value) {
  return set.size === 0 || set.has(value);
}

function hasReason(entry) {
  return entry.reasons.some((reason) => filters.reasons.has(reason.code));
}

/* Returns whether a thing fits the filters that are about things. */
function fits(picture, thing) {
  const outcome = outcomeOf(picture, thing);
  if (outcome === null) return false;
  return passes(filters.classes, thing.category)
    && passes(filters.sizes, thing.size)
    && (filters.outcomes.size === 0 || filters.outcomes.has(outcome === "right" ? "found" : outcome))
    && (filters.reasons.size === 0 || hasReason(thing) || hasReason(picture));
}

function isAboutThings() {
  return Boolean(filters.classes.size || filters.sizes.size || filters.outcomes.size
    || filters.to < 1);
}

function fitsWhich(picture) {
  const objects = () => picture.things.some((thing) => thing.kind <= KIND.CROWD);
  switch (filters.which) {
    case "used": return !picture.isLeftOut;
    case "left-out": return picture.isLeftOut || picture.things.some((t) => t.kind === KIND.LEFT_OUT);
    case "with": return objects();
    case "without": return !objects();
    default: return true;
  }
}

function fitsPicture(picture) {
  if (!passes(filters.splits, picture.split) || !fitsWhich(picture)) return false;
  if (filters.text && !picture.name.toLowerCase().includes(filters.text)) return false;
  if (isAboutThings()) return picture.things.some((thing) => fits(picture, thing));
  return filters.reasons.size === 0 || hasReason(picture) || picture.things.some(hasReason);
}

function errorsIn(picture) {
  const isError = (thing) => ["missed", "wrong"].includes(outcomeOf(picture, thing));
  return picture.things.filter(isError).length;
}

const ORDERS = {
  file: null,
  objects: (picture) => -picture.things.filter((thing) => thing.kind <= KIND.CROWD).length,
  errors: (picture) => -errorsIn(picture),
  name: (picture) => picture.name,
};

/* Returns the pictures to show, in their order. */
function chosenPictures() {
  const chosen = look.pictures.filter((picture) => picture && fitsPicture(picture));
  const key = ORDERS[filters.order];
  if (!key) return chosen;
  const keyed = chosen.map((picture) => [key(picture), picture]);
  keyed.sort(([a, p], [b, q]) => (a < b ? -1 : a > b ? 1 : p.number - q.number));
  return keyed.map(([, picture]) => picture);
}
