"""``python -m anomaly_detection``: the command line."""

import sys

from anomaly_detection.cli import main

if __name__ == "__main__":
    sys.exit(main())
