"""Fixtures that more than one test file uses."""

from __future__ import annotations

import pytest

from mlx_iforest.backends import available_backends


@pytest.fixture(params=["numba", "mlx", "sklearn"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend in turn; one that this machine lacks is skipped with the reason."""
    missing = available_backends()[request.param]
    if missing is not None:
        pytest.skip(f"backend {request.param}: {missing}")
    return str(request.param)
