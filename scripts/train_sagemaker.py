#!/usr/bin/env python3
"""Trains on SageMaker: `.venv/bin/python scripts/train_sagemaker.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.sagemaker.command import main

if __name__ == "__main__":
    main(prog_name="scripts/train_sagemaker.py")
