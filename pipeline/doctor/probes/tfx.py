"""Imports TFX as our pipelines do; prints JSON."""

import json


def main() -> None:
    """Prints the version."""
    from tfx import v1 as tfx

    print(json.dumps({"version": tfx.__version__}))


if __name__ == "__main__":
    main()
