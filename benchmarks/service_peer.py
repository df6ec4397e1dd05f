"""The same model behind FastAPI and joblib, as people write it: judged, and neither kept nor told why.

``MODEL=model.joblib uvicorn benchmarks.service_peer:app``; `python -m benchmarks.service` starts it where FastAPI is
installed.
"""

from __future__ import annotations

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["MODEL"])


class Request(BaseModel):
    """What `/detect` takes."""

    data: dict[str, Any]


@app.post("/detect")
def detect(request: Request) -> dict[str, Any]:
    """Judge one record."""
    predictions, scores = model.predict(pd.DataFrame([request.data]))
    return {"is_anomaly": bool(predictions[0] == -1), "score": float(scores[0])}
