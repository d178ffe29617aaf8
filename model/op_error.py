"""What a TensorFlow error says, without the graph around it."""

import re

_NOISE = ("[[", "Graph execution", "Detected at", "Node:", "File ", "<stack", "(")


def reason_of(message: str) -> str:
    r"""Returns the line of a TensorFlow error's message that says what happened.

    An error of a graph comes with the Python stack that built the failing node, before the reason,
    and at times once more after it.

    >>> reason_of("Graph execution error:\n\nDetected at node 'Decode' defined at (most recent "
    ...           "call last):\n  File \"a.py\", line 1, in f\nNode: 'Decode'\n"
    ...           "Invalid PNG data, size 9\n\t [[{{node Decode}}]]")
    'Invalid PNG data, size 9'
    """
    before = message.split("Original stack trace for")[0]
    lines = [line.strip() for line in before.splitlines()]
    line = next((x for x in reversed(lines) if x and not x.startswith(_NOISE)), message)
    asserted = re.match(r"assertion failed: \[(.*?)\]", line)
    return " ".join((asserted[1] if asserted else line).split())
