"""The history of a root as people read it: a table, and what differs between two runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.model_pusher.registry import PushedVersion
from ground.wording import plural
from pipeline.local.history import RUN, Entry

COLUMNS = ["entry", "when (UTC)", "pictures", "box AP", "mask AP", "verdict", "version"]
VERSION_COLUMNS = ["version", "pushed (UTC)", "model"]
_LONGEST_REASON = 110
_MOST_CLASSES = 10
_NO_NUMBER = "-"


def table_rows(entries: Sequence[Entry]) -> list[list[str]]:
    """Returns a row of cells, for `COLUMNS`, for each entry."""
    return [
        [
            f"{entry.number} {_what(entry)}",
            entry.when[:16].replace("T", " "),
            _pictures(entry),
            _number(entry.metrics.get("box"), "AP"),
            _number(entry.metrics.get("mask"), "AP"),
            _verdict(entry),
            _NO_NUMBER if entry.version is None else str(entry.version),
        ]
        for entry in entries
    ]


def remarks(entries: Sequence[Entry]) -> list[str]:
    """Returns a line for each entry of which a row does not say all."""
    lines = []
    for entry in entries:
        if entry.kind == RUN and entry.blessed is False:
            lines.append(f"{entry.number}: refused: {_short(str(entry.reason))}")
        elif entry.said.get("because"):
            lines.append(f"{entry.number}: because {_short(str(entry.said['because']))}")
        if entry.missing:
            more = f" (and {len(entry.missing) - 1} more)" if len(entry.missing) > 1 else ""
            lines.append(f"{entry.number}: gone or not readable: {entry.missing[0]}{more}")
    return lines


def version_rows(versions: Sequence[PushedVersion]) -> list[list[str]]:
    """Returns a row of cells, for `VERSION_COLUMNS`, for each version, oldest first."""
    rows = []
    for version in versions:
        note = version.note
        how = "of another origin" if note is None else "by the gate"
        when = _NO_NUMBER if note is None else note.pushed[:16].replace("T", " ")
        if note and note.override:
            how = note.override.in_words()
        if note and note.rollback:
            how = note.rollback.in_words()
        if note and note.version != version.version:
            how, when = f"a copy of version {note.version}, made by hand", _NO_NUMBER
        if version == versions[-1]:
            how += " (served: the newest)"
        rows.append([f"{version.version} {how}", when, (version.model_id or _NO_NUMBER)[:12]])
    return rows


def difference(old: Entry, new: Entry) -> dict[str, Any]:
    """Returns what differs between two runs: settings, data, code, metrics, classes, verdict."""
    names = sorted({*old.settings, *new.settings})
    return {
        "from": {"number": old.number, "run_id": old.run_id, "when": old.when},
        "to": {"number": new.number, "run_id": new.run_id, "when": new.when},
        "settings": {
            name: [old.settings.get(name), new.settings.get(name)]
            for name in names
            if old.settings.get(name) != new.settings.get(name)
        },
        "data": {
            key: [old.data.get(key), new.data.get(key)]
            for key in ("folder", "digest", "splits")
            if old.data.get(key) != new.data.get(key)
        },
        "code": sorted(
            node for node in {*old.code, *new.code} if old.code.get(node) != new.code.get(node)
        ),
        "metrics": {
            kind: _changes(old.metrics.get(kind), new.metrics.get(kind)) for kind in ("box", "mask")
        },
        "classes": {
            kind: _changes(old.classes.get(kind), new.classes.get(kind)) for kind in ("box", "mask")
        },
        "verdict": [[old.blessed, old.reason], [new.blessed, new.reason]],
        "model_id": [old.model_id, new.model_id],
        "version": [old.version, new.version],
    }


def difference_lines(found: Mapping[str, Any]) -> list[str]:
    """Returns `difference` as lines for the screen."""
    lines = [f"from run {found['from']['number']} to run {found['to']['number']}"]
    for name, (old, new) in found["settings"].items():
        lines.append(f"setting {name}: {_short(old or 'none')} -> {_short(new or 'none')}")
    for key, (old, new) in found["data"].items():
        lines.append(f"data {key}: {_short(str(old))} -> {_short(str(new))}")
    if found["code"]:
        lines.append(f"code of {', '.join(found['code'])} is another")
    if len(lines) == 1:
        lines.append("the same settings, data and code")
    for kind, changes in found["metrics"].items():
        lines += [f"{kind}/{name}: {_change(*pair)}" for name, pair in changes.items()]
    for kind, changes in found["classes"].items():
        ordered = sorted(changes.items(), key=lambda item: _fall(*item[1]))
        lines += [f"{kind}/AP of {n!r}: {_change(*p)}" for n, p in ordered[:_MOST_CLASSES]]
        if more := ordered[_MOST_CLASSES:]:
            rest = (
                plural(len(more), "more class") if len(more) == 1 else f"{len(more)} more classes"
            )
            lines.append(f"{kind}/AP of {rest}: --json lists them")
    for word, (blessed, reason) in zip(("before", "now"), found["verdict"], strict=True):
        verdict = "no verdict" if blessed is None else "blessed" if blessed else "refused"
        lines.append(f"{word} {verdict}: {_short(str(reason))}" if reason else f"{word} {verdict}")
    for key in ("model_id", "version"):
        old, new = found[key]
        lines.append(f"{key.replace('_', ' ')}: {_shown(old)} -> {_shown(new)}")
    return lines


def _what(entry: Entry) -> str:
    by = f" by {entry.said['by']}" if entry.said.get("by") else ""
    if entry.kind == RUN:
        return f"run of {entry.name}" + ("" if entry.state == "done" else f", {entry.state}")
    if entry.kind == "rollback":
        return f"rollback of {entry.name} to version {entry.said.get('to')}{by}"
    if entry.kind == "blessing":
        return f"blessing of {entry.name}{by}"
    return f"push of {entry.name}, of another root or by hand"


def _pictures(entry: Entry) -> str:
    """Returns the pictures of each split, such as "400 + 80"."""
    counts = [split["pictures"] for split in (entry.data.get("splits") or {}).values()]
    known = [f"{count:,}" for count in counts if count is not None]
    return " + ".join(known) or _NO_NUMBER


def _number(numbers: Mapping[str, float] | None, name: str) -> str:
    value = (numbers or {}).get(name, -1.0)
    return _NO_NUMBER if value < 0 else f"{value:.3f}"


def _verdict(entry: Entry) -> str:
    if entry.kind == "blessing":
        return "by a person"
    if entry.blessed is None:
        return _NO_NUMBER
    return "blessed" if entry.blessed else "refused"


def _changes(
    old: Mapping[str, float] | None, new: Mapping[str, float] | None
) -> dict[str, list[float | None]]:
    names = list(dict.fromkeys([*(old or {}), *(new or {})]))
    return {name: [(old or {}).get(name), (new or {}).get(name)] for name in names}


def _change(old: float | None, new: float | None) -> str:
    if old is None or new is None or old < 0 or new < 0:
        return f"{_metric(old)} -> {_metric(new)}"
    return f"{_metric(old)} -> {_metric(new)} ({new - old:+.4f})"


def _metric(value: float | None) -> str:
    return _NO_NUMBER if value is None or value < 0 else f"{value:.4f}"


def _fall(old: float | None, new: float | None) -> float:
    """Returns by how much a number changed, what is not on both sides last."""
    return 2.0 if old is None or new is None else new - old


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def _shown(value: Any) -> str:
    return _NO_NUMBER if value is None else str(value)[:12]
