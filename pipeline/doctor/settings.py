"""Rows about what a user gives: the config, the data folder, and the services that are named."""

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from pipeline.doctor.ask import ask
from pipeline.doctor.rows import Row

ADDRESS_VARIABLE = "KF_PIPELINES_ENDPOINT"  # kfp's own
TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"
_HEALTH = "/apis/v2beta1/healthz"
_SECONDS = 10.0
_MENDS = {
    "config": "mend the config: docs/configs.md has every key",
    "weights": "see docs/weights.md",
    "workers": "docs/training.md#workers has the ways out",
    "data": "give --data-dir and the data section of the config as they fit (docs/data.md)",
}


def settings_rows(config_file: str, data_dir: str, seconds: float) -> list[Row]:
    """Returns the rows of a config, of the weights it starts from and of a data folder.

    Args:
        config_file: YAML.
        data_dir: "" leaves it out.
        seconds: until the look at them is ended.
    """
    asked = ask("pipeline.doctor.probes.settings", config_file, data_dir, seconds=seconds)
    if asked.values is None:
        return [Row("config", "error", asked.problem, asked.mend)]
    rows = [
        Row(check, "error", problem, _MENDS[check]) if problem else Row(check, "ok", found)
        for check, problem, found in asked.values["checks"]
    ]
    if store := asked.values.get("store"):
        rows.append(store_row(store))
    return rows


def store_row(address: str) -> Row:
    """Returns the row of the object store that pipeline.kubeflow names."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_SECONDS).close()
    except OSError as error:
        found = f"{address}: {error.strerror or error}"
        mend = "right if only the cluster can reach it; else mend pipeline.kubeflow.store_endpoint"
        return Row("object store", "warning", found, mend)
    return Row("object store", "ok", f"{address} takes connections")


def kubeflow_row(address: str, environ: Mapping[str, str], seconds: float = _SECONDS) -> Row:
    """Returns the row of Kubeflow Pipelines' health.

    Args:
        address: address as `upload --host` takes it.
        environ: may have a token, which is not shown.
        seconds: to wait for the answer.
    """
    try:
        is_address = urlsplit(address).scheme in ("http", "https")
    except ValueError:  # brackets that are none
        is_address = False
    if not is_address:
        mend = f"give one such as https://kubeflow.my.org/pipeline (--host, {ADDRESS_VARIABLE})"
        return Row("Kubeflow", "error", f"{address!r} is no address", mend)
    request = urllib.request.Request(address.rstrip("/") + _HEALTH)
    if token := environ.get(TOKEN_VARIABLE, "").strip():
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            health = json.loads(answer.read(1 << 16))
        version = str(health.get("tag_name") or "of no named version")[:40]
    except urllib.error.HTTPError as error:
        found = f"{address} answers {error.code} {error.reason}"
        mend = f"put a valid token into {TOKEN_VARIABLE}" if error.code in (401, 403) else ""
        return Row("Kubeflow", "error", found, mend or "check the address")
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        if isinstance(error, (ValueError, AttributeError)):
            why = "answers with no health (a log-in page?)"
        mend = "check the address, the network and the log-in"
        return Row("Kubeflow", "error", f"{address}: {why}", mend)
    return Row("Kubeflow", "ok", f"{address}: Kubeflow Pipelines {version}")
