"""Arguments of `hyperpose info`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "info",
        description="Print the architecture, the size of its parts, scenes, frames, preprocessing, "
        "how it was trained and what it scored on held-out data.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint or an exported .onnx file")
