"""Values as Go writes them: KFP's messages and fingerprints hang on it."""

import json
import math
from decimal import Decimal
from typing import Any


def plain(value: Any) -> Any:
    """Returns a value with whole floats as integers, as JSON of Go has them."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


def without_empty(message: dict[str, Any]) -> dict[str, Any]:
    """Returns a message without its empty maps and lists, which protojson leaves out."""
    return {name: value for name, value in message.items() if value not in ({}, [], "")}


def go_json(value: Any) -> str:
    r"""Returns the text of Go's encoding/json: sorted, compact, with `<`, `>`, `&` escaped.

    >>> print(go_json({"b": 5.0, "a": "x<y"}))
    {"a":"x\u003cy","b":5}
    """
    if isinstance(value, dict):
        parts = (f"{go_json(str(name))}:{go_json(value[name])}" for name in sorted(value))
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(go_json, value)) + "]"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        for character in "<>&\u2028\u2029":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text
    if isinstance(value, float):
        return _go_number(value)
    return json.dumps(value)


def _go_number(value: float) -> str:
    """Returns a float64 as Go's encoding/json does: exponents below 1e-6 and from 1e21 on."""
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return decimal_text(value)
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        mantissa, _, exponent = f"{Decimal(repr(value)):e}".partition("e")
    sign = "-" if exponent.startswith("-") else "+"
    digits = exponent.lstrip("+-").lstrip("0")
    padded = digits if sign == "-" else digits.zfill(2)
    return f"{mantissa.removesuffix('.0')}e{sign}{padded}"


def decimal_text(value: float) -> str:
    """Returns a float without an exponent (Go's format `f` with the fewest digits).

    >>> decimal_text(4.0), decimal_text(2.5e-7)
    ('4', '0.00000025')
    """
    if not math.isfinite(value):
        return str(value)
    text = f"{Decimal(repr(float(value))):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
