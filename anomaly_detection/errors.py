"""The errors of this package. Each message is one line: what was wrong, what was expected, what to do."""

from __future__ import annotations

import sklearn.exceptions

__all__ = ["AnomalyDetectionError", "DataError", "ModelFileError", "NotFittedError"]


class AnomalyDetectionError(ValueError):
    """Base of every error that this package raises on purpose; its message is fit to show to a user."""


class DataError(AnomalyDetectionError):
    """The data, or an argument that describes data, cannot be used as given."""


class ModelFileError(AnomalyDetectionError):
    """A model file is missing, damaged, or no model."""


class NotFittedError(AnomalyDetectionError, sklearn.exceptions.NotFittedError):
    """Something was asked of a model that has not been fitted yet."""
