"""Results as tables, as plain data, and as the files of a folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.plot_style import save_figure
from hyperpose_core.files import replace_text

_RESULTS_FILE = "results.json"
_MARKDOWN_FILE = "results.md"


def write_results(
    directory: Path, document: Mapping[str, Any], blocks: Sequence[str], figures: Mapping[str, Figure]
) -> Path:
    """Write `results.json`, `results.md` and figures into a folder, made where it is missing.

    Args:
        directory: the folder.
        document: all figures by name; what is not finite becomes null.
        blocks: paragraphs and tables of the Markdown file, which ends with the figures.
        figures: by file name.

    Returns:
        path of `results.md`.

    Raises:
        HyperPoseError: the folder cannot be written.
    """
    path = directory / _MARKDOWN_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(plain_data(document), indent=2, allow_nan=False, ensure_ascii=False)
        replace_text(directory / _RESULTS_FILE, text + "\n", "results")
        for name, figure in figures.items():
            save_figure(figure, directory / name, 120)
        pictures = [f"![]({name})" for name in figures]
        replace_text(path, "\n\n".join([*blocks, *pictures]) + "\n", "report")
    except OSError as error:
        raise HyperPoseError(f"{directory}: cannot write the results: {error.strerror or error}") from error
    return path


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its columns padded to equal width.

    Args:
        rows: the header, then the body; the first column is set left, the others right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], _line(rule, widths), *lines[1:]])


def plain_data(value: object) -> Any:
    """Return what JSON can hold: lists for tuples and arrays, null for what is not finite, else text."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain_data(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in value]
    if isinstance(value, np.generic):
        return plain_data(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return f"| {' | '.join([first, *rest])} |"
