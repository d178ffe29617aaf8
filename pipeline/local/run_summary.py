"""What a run came to: read from its artifacts, written as summary.json, shown in a few lines."""

import shlex
from pathlib import Path
from typing import Any

from components.anomalies import read_anomalies
from components.coco_evaluator.findings import finding_lines
from components.model_pusher import properties
from configs.metric_names import METRIC_NAMES
from ground.command_examples import program
from ground.console import read_json
from ground.errors import DatasetError, ModelError
from ground.wording import listed, made_lines, plural
from pipeline.local.lineage import Lineage, Output
from pipeline.local.run_folder import RunFolder

_MOST_NOTES = 8
_SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")


def summarise(folder: RunFolder, run_id: str) -> dict[str, Any]:
    """Returns the summary of a run; null for what its part of the graph did not reach.

    Returns:
        `metrics` by kind, `blessed`, `reason` and `findings` of the verdict, `pushed_model`,
        `report` and `data_report` as paths; by split: `records` (pictures) and `objects`, each
        read, written and rejected, `reasons` (flaws by code), `sources` (by `data.sources`),
        `parts` (by `data.split`) and `classes` (by `data.classes`), null without that setting,
        `transformed` (what CocoTransform did with pictures and objects) and `anomalies`; `notes`,
        a line each.
    """
    outputs = Lineage(str(folder.metadata), run_id).outputs()

    def output(node: str, key: str) -> Output | None:
        return outputs.get(node, {}).get(key)

    evaluation = output("CocoEvaluator", "evaluation")
    metrics, decision, report = {}, {}, None
    if evaluation is not None:
        place = Path(evaluation.uri)
        metrics = read_json(place / "metrics.json", ModelError)
        decision = read_json(place / "decision.json", ModelError)
        report = str(place / "report.html")
    data_report = output("CocoTransform", "report")
    anomalies = output("ExampleValidator", "anomalies")
    pushed = output("ModelPusher", "pushed_model")
    return {
        "metrics": {
            kind: {name: metrics[kind][name] for name in METRIC_NAMES}
            if metrics.get(kind)
            else None
            for kind in ("box", "mask")
        },
        "blessed": bool(decision.get("blessed", False)),
        "reason": decision.get("reason"),
        "findings": decision.get("findings", []),
        "pushed_model": _pushed_path(pushed),
        "report": report,
        "data_report": str(Path(data_report.uri) / "report.html") if data_report else None,
        **_counts(output("CocoExampleGen", "rejects")),
        "sources": _made(output("CocoExampleGen", "rejects"), "sources"),
        "parts": _made(output("CocoExampleGen", "rejects"), "part"),
        "classes": _made(output("CocoExampleGen", "rejects"), "classes"),
        "transformed": _transformed(data_report),
        "notes": _notes(output("CocoExampleGen", "rejects"), data_report),
        "anomalies": read_anomalies(anomalies.uri) if anomalies else None,
    }


def _counts(rejects: Output | None) -> dict[str, Any]:
    """Returns pictures, objects and reasons by split, as CocoExampleGen counted them."""
    kinds = {"records": "pictures", "objects": "objects", "reasons": "reasons"}
    if rejects is None:
        return dict.fromkeys(kinds)
    splits = read_json(Path(rejects.uri) / "counts.json", DatasetError)["splits"]
    return {
        key: {name: split[kind] for name, split in splits.items()} for key, kind in kinds.items()
    }


def _made(rejects: Output | None, key: str) -> dict[str, Any] | None:
    """Returns what the config made of a file, by split; None where it is taken as it is."""
    if rejects is None:
        return None
    splits = read_json(Path(rejects.uri) / "counts.json", DatasetError)["splits"]
    return {name: split[key] for name, split in splits.items() if key in split} or None


def _transformed(data_report: Output | None) -> dict[str, Any] | None:
    """Returns what CocoTransform did with the pictures and objects of each split."""
    if data_report is None:
        return None
    splits = read_json(Path(data_report.uri) / "report.json", DatasetError)["splits"]
    kinds = ("pictures", "objects")
    return {name: {kind: split[kind] for kind in kinds} for name, split in splits.items()}


def _notes(rejects: Output | None, data_report: Output | None) -> list[str]:
    """Returns what both components found worth a line, each with its split in front."""
    notes: list[str] = []
    if rejects is not None:
        splits = read_json(Path(rejects.uri) / "counts.json", DatasetError)["splits"]
        notes += [f"{name}: {note}" for name, split in splits.items() for note in split["notes"]]
    if data_report is not None:
        report = read_json(Path(data_report.uri) / "report.json", DatasetError)
        notes += [note for note in report["notes"] if note not in notes]
    return notes


def _pushed_path(pushed: Output | None) -> str | None:
    """Returns where the model is served from; None where nothing is pushed, or it is gone."""
    if pushed is None or pushed.properties.get(properties.PUSHED) != 1:
        return None
    path = str(pushed.properties[properties.DESTINATION])
    return path if Path(path).is_dir() else None


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Returns the summary for the screen: the COCO numbers, the verdict, the places."""
    lines = [""]
    for split, found in (summary["anomalies"] or {}).items():
        lines += [f"anomaly in {split}: {name}: {text}" for name, text in found.items()]
    lines += _data_lines(summary)
    tables = {kind: values for kind, values in summary["metrics"].items() if values}
    if tables:
        lines.append("      " + "".join(f"{name:>8}" for name in _SHOWN))
        for kind, values in tables.items():
            lines.append(f"{kind:6}" + "".join(_shown(values[name]) for name in _SHOWN))
        lines.append("")
        lines += finding_lines(summary.get("findings", []))
        verdict = "blessed" if summary["blessed"] else "not blessed"
        lines.append(f"{verdict}: {summary['reason']}")
        lines.append(f"pushed  {_pushed(summary)}")
        lines.append(f"report  {summary['report']}")
    if summary["data_report"]:
        lines.append(f"data    {summary['data_report']}")
    return [*lines, *_next_lines(summary)]


def _next_lines(summary: dict[str, Any]) -> list[str]:
    """Returns the commands that show what the model finds: in its evaluation, in other pictures."""
    if not summary["report"]:
        return []
    evaluation = shlex.quote(str(Path(summary["report"]).parent))
    lines = [f"next    {program()} look {evaluation}"]
    if summary["pushed_model"]:
        model = shlex.quote(summary["pushed_model"])
        lines.append(f"        {program()} predict --model {model} PICTURE... --out DIR")
    return lines


def _data_lines(summary: dict[str, Any]) -> list[str]:
    """Returns what was left out or flawed in each split, and the notes."""
    keys = {"sources": "sources", "part": "parts", "classes": "classes"}
    made = {key: summary.get(of_summary) or {} for key, of_summary in keys.items()}
    lines = [
        f"{split}: {line}"
        for split in dict.fromkeys(split for found in made.values() for split in found)
        for line in made_lines({key: found.get(split) for key, found in made.items()})
    ]
    for split, pictures in (summary["records"] or {}).items():
        objects = (summary["objects"] or {}).get(split)
        for counts, noun in ((pictures, "picture"), (objects, "object")):
            if counts and counts["rejected"]:
                read = plural(counts["read"], noun)
                lines.append(f"{split}: {counts['rejected']:,} of {read} rejected")
        if reasons := (summary["reasons"] or {}).get(split):
            lines.append(f"{split}: found {listed(reasons)}")
    notes = summary["notes"]
    lines += [f"note: {note}" for note in notes[:_MOST_NOTES]]
    if more := notes[_MOST_NOTES:]:
        lines.append(f"note: {plural(len(more), 'more note')} in summary.json")
    return lines


def _shown(value: float) -> str:
    """Returns a metric in eight columns; "-" where it is undefined (no object of that size)."""
    return f"{value:8.3f}" if value >= 0 else f"{'-':>8}"


def _pushed(summary: dict[str, Any]) -> str:
    if summary["pushed_model"]:
        return str(summary["pushed_model"])
    if summary["blessed"] and "ModelPusher" in summary["seconds"]:
        return "nothing: its folder is gone (run again with --from ModelPusher --no-cache)"
    return "nothing"
