"""Trains the demo checkpoint. Options: `train_demo.py --help`; the code is in
tools/demotraining."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.demotraining.__main__ import main

if __name__ == "__main__":
    main()
