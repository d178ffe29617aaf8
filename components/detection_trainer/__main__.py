"""DetectionTrainer alone: plain folders in, plain folders out, no metadata store.

It is the library's own command: `python -m model.train` does the same.
"""

from model.commands.train import main

if __name__ == "__main__":
    main(prog_name="python -m components.detection_trainer")
