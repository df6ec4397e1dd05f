"""The errors of this package. Each message is one line: what was wrong, what was expected, what to do."""

from __future__ import annotations

import re

__all__ = ["AnomalyDetectionError", "DataError", "ModelFileError", "NotFittedError", "first_line", "without_passwords"]

_PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/]*@")


class AnomalyDetectionError(ValueError):
    """Base of every error that this package raises on purpose; its message is fit to show to a user."""


class DataError(AnomalyDetectionError):
    """The data, or an argument that describes data, cannot be used as given."""


class ModelFileError(AnomalyDetectionError):
    """A model file is missing, damaged, or no model."""


class NotFittedError(AnomalyDetectionError):
    """Something was asked of a model that has not been fitted yet."""


def first_line(error: BaseException) -> str:
    """The first line of another library's error, at most 200 characters; its type where it says nothing by itself."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return f"there is no {text}" if type(error) is KeyError else text


def without_passwords(text: str) -> str:
    """The text, with the passwords of URLs in it as stars."""
    return _PASSWORD.sub(r"\1:***@", text)
