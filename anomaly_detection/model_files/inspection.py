"""What a model file holds: how its model was trained, how it scores, how large it is and what would run it here."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from anomaly_detection.errors import ModelFileError, first_line
from anomaly_detection.model_files.header import loaded, read_header
from anomaly_detection.model_files.model_file import holds_preprocessor, read_model_file
from mlx_iforest.backends import BackendUnavailableError, choose_backend

__all__ = ["inspect_model"]


def inspect_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Tell what a model file holds.

    Parameters
    ----------
    path : path
        A model in either format.

    Returns
    -------
    dict
        Plain values, fit for JSON: ``file`` (``path``, ``bytes``, ``format``, ``format_version``,
        ``library_version``), ``training`` (what the training run left, {} where nothing is known), ``columns`` (a list
        of ``name`` and ``role``), ``features`` (``made``, and ``seen``, those that the forest sees), ``forest``
        (``kind``, ``trees``, ``samples``, ``nodes``, ``depth``, ``bytes`` in memory, ``stored_bytes``,
        ``quantized_bits``, ``pruned``, ``oblique``), ``threshold`` (``score``, below which a record is an alert,
        ``rule`` and its ``parameters``, ``by_batch``), ``calibration`` (``scores``, ``unseen``, ``labelled``) or
        None, ``memory_bytes``, and ``backend`` (``name``, or None where none can, ``reason``, ``asked_for``, and
        ``best``, what 'auto' would take here).

    Raises
    ------
    ModelFileError
        As `load_detector`.
    """
    file = read_model_file(path)
    header = read_header(file.native, str(path))
    if header.kind == "preprocessor":
        raise holds_preprocessor(path)
    text = _told_anew(path) if header.about is None else header.about
    try:
        about = loaded(text)
        asked = about.pop("asked_for")
        return {
            "file": {
                "path": os.fsencode(path).decode(errors="backslashreplace"),
                "bytes": file.size,
                "format": file.format,
                "format_version": file.format_version,
                "library_version": header.library_version,
            },
            **about,
            "backend": _backend(asked),
        }
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path} says of itself what no model file says ({first_line(error)}); get the file again, or train the"
            " model again."
        ) from error


def _told_anew(path: str | os.PathLike[str]) -> str:
    """What a file of before, which says nothing of itself, says when it is written again."""
    from anomaly_detection.model_files.native_file import to_bytes
    from anomaly_detection.model_files.persistence import load_detector

    header = read_header(to_bytes(load_detector(path)), str(path))
    assert header.about is not None
    return header.about


def _backend(asked: str) -> dict[str, Any]:
    best = choose_backend("auto", load=False)
    found: dict[str, Any] = {"asked_for": asked, "best": asdict(best)}
    try:
        choice = best if asked == "auto" else choose_backend(asked, load=False)
    except BackendUnavailableError as error:
        return {**found, "name": None, "reason": str(error)}
    return {**found, "name": choice.name, "reason": choice.reason}
