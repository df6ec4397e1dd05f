"""Train, compare and save: the same as ``anomaly-detection train``. See ``python train_model_mlx.py --help``."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - runs before anything that says so was installed
    sys.exit("Python 3.10 or newer is needed, because MLX needs it.")

from anomaly_detection.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main())
