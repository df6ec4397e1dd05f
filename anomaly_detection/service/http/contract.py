"""CryptaNet's contract: what its backend sends, and the answers that it reads, name by name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from starlette.responses import Response

from anomaly_detection.service.alerts.alert_book import find_alert, importance
from anomaly_detection.service.http.json_answer import answer, parsed
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.intake import Taken
from anomaly_detection.service.records.verdicts import Judged
from anomaly_detection.service.storage.tables import alerts
from anomaly_detection.service.streams.streams import DEFAULT
from mlx_iforest import __version__

__all__ = ["detect", "explain", "explain_one", "health", "predict", "ready", "status", "train"]

NAME = "anomaly-detection"
ENDPOINTS = ("/health", "/ready", "/status", "/detect", "/predict", "/explain", "/train", "/metrics", "/openapi.json")

_ECHOED = ("productId", "product")
_EXPLAINED = 1000


def detect(service: Service, body: bytes) -> Response:
    """``POST /detect``: one record or a list of them, under ``data`` or bare."""
    records, is_list = _asked(service, body)
    return _told(service.intake.take(DEFAULT, records), is_list)


async def detect_soon(service: Service, body: bytes) -> Response:
    """As `detect`, for few records: they are judged by the thread that asks, and none waits while they are kept."""
    records, is_list = _asked(service, body)
    return _told(await service.intake.take_soon(DEFAULT, records), is_list)


def _asked(service: Service, body: bytes) -> tuple[list[Incoming], bool]:
    """The records of a body, and whether it has a list of them."""
    content = parsed(body)
    data = content.get("data", content) if isinstance(content, dict) else content
    if isinstance(data, list):
        return incoming(service, data), True
    if not isinstance(data, dict) or not data:
        raise Problem(400, 'There is no record; send {"data": {"name": value, ...}}, or a list of such objects.')
    # With what stands beside ``data``.
    return incoming(service, [content]), False


def _told(taken: Taken, is_list: bool) -> Response:
    results = _results(taken)
    if is_list:
        return answer({"success": True, "results": results, "count": len(results)})
    (result,) = results
    return answer({"success": True, **result, "result": result})


def predict(service: Service, body: bytes) -> Response:
    """``POST /predict``: as ``/detect``, under other names."""
    content = parsed(body)
    features = content.get("features", content) if isinstance(content, dict) else content
    if isinstance(features, list) and all(isinstance(each, dict) for each in features):
        results = _results(service.intake.take(DEFAULT, incoming(service, features)))
        return answer({"success": True, "predictions": results, "count": len(results)})
    if not isinstance(features, dict) or not features:
        raise Problem(400, 'There are no features; send {"features": {"name": value, ...}}, named as the columns are.')
    (result,) = _results(service.intake.take(DEFAULT, incoming(service, [features])))
    return answer({"success": True, **result, "prediction": result})


def incoming(service: Service, values: list[Any]) -> list[Incoming]:
    """Records within the limits."""
    if len(values) > service.limits.records:
        raise Problem(413, f"{len(values):,} records are too many; send at most {service.limits.records:,} at a time.")
    found = [Incoming.of(value) for value in values]
    for each in found:
        service.limits.check(each.fields)
    return found


def _results(taken: Taken) -> list[dict[str, Any]]:
    return [
        _result(each, record_id, alert_id, taken.learning)
        for each, record_id, alert_id in zip(taken.found, taken.kept.record_ids, taken.kept.alert_ids, strict=True)
    ]


def _result(each: Judged, record_id: int, alert_id: int | None, learning: str) -> dict[str, Any]:
    """What a record's verdict is; ``anomaly_score`` is 0 to 1, higher is worse, and ``judged`` says whether it is any.

    A client of this contract calculates with the score, so that it is a number also where nothing was judged.
    """
    echoed = {name: each.incoming.fields[name] for name in _ECHOED if each.incoming.fields.get(name)}
    verdict = each.verdict
    if verdict is None:
        return {
            "is_anomaly": False,
            "anomaly_score": 0.0,
            "risk_level": "UNKNOWN",
            "judged": False,
            "error": each.error or learning,
            "record_id": record_id,
            "alert_id": None,
            **echoed,
        }
    alert = each.alert
    return {
        "is_anomaly": verdict.is_alert,
        "anomaly_score": verdict.severity / 100,
        "risk_level": verdict.risk_level.upper(),
        "judged": True,
        "confidence": verdict.confidence,
        "severity": verdict.severity,
        "p_value": verdict.p_value,
        "explanation": "" if alert is None else alert.sentence,
        "reasons": [] if alert is None else [{"text": each.text, "share": each.share} for each in alert.reasons],
        "record_id": record_id,
        "alert_id": alert_id,
        **echoed,
    }


def health(service: Service) -> Response:
    """``GET /health``: 200 as long as records are taken, whether they can be judged yet or not."""
    told = {"status": "healthy", "service": NAME, "api_ready": service.is_ready}
    return answer(told if service.is_ready else {**told, "message": service.progress(DEFAULT)})


def ready(service: Service) -> Response:
    """``GET /ready``: 503 until records are judged."""
    if service.is_ready:
        return answer({"ready": True})
    return answer({"ready": False, "message": service.progress(DEFAULT)}, 503)


def status(service: Service) -> Response:
    """``GET /status``."""
    return answer(
        {
            "status": "running",
            "service": NAME,
            "version": __version__,
            "model_loaded": service.is_ready,
            "endpoints": ENDPOINTS,
            "streams": service.streams(),
        }
    )


def explain(service: Service) -> Response:
    """``GET /explain``: what judges, and which columns the newest alerts are about."""
    judge = service.judge(DEFAULT)
    if judge is None:
        raise Problem(409, f"There is no model to explain yet; {service.progress(DEFAULT)}.")
    with service.database.reading() as connection:
        count, shares = importance(connection, service.stream_id(DEFAULT), _EXPLAINED)
    detector = judge.detector
    offset = float(detector.model.offset_)
    metrics = {
        "model_type": type(detector.model).__name__,
        "model_version": judge.version,
        "records_learned": int(detector.preprocessor.n_records_),
        "alerts_looked_at": count,
        "feature_importance": shares,
        # On the scale of anomaly_score.
        "detection_threshold": float(detector.calibration.severities([offset])[0]) / 100,
    }
    return answer({"success": True, "metrics": metrics, "featureImportance": _importance(shares)})


def _importance(shares: dict[str, float]) -> list[dict[str, Any]]:
    return [{"name": name, "importance": share} for name, share in shares.items()]


def explain_one(service: Service, name: str) -> Response:
    """``GET /explain/<id>``: why a record is an alert; by the alert's id, or by how its sender calls the record."""
    with service.database.reading() as connection:
        found = find_alert(connection, int(name)) if name.isascii() and name.isdigit() and len(name) < 18 else None
        if found is None:
            newest = select(alerts.c.id).where(alerts.c.sent_id == name).order_by(alerts.c.id.desc()).limit(1)
            number = connection.execute(newest).scalar()
            found = None if number is None else find_alert(connection, number)
    if found is None:
        raise Problem(404, f"There is no alert {name!r}; /detect gives the alert_id of each.")
    shares = {" and ".join(reason["columns"]): reason["share"] for reason in found["reasons"]}
    explanation = {
        "anomalyId": found["id"],
        "anomalyScore": found["severity"] / 100,
        "riskLevel": found["risk_level"].upper(),
        "summary": found["reason"],
        "featureImportance": _importance(shares),
        "timestamp": found["first_seen"],
        "state": found["state"],
        "count": found["count"],
        **{name: found["record"][name] for name in _ECHOED if name in found["record"]},
    }
    return answer({"success": True, **explanation, "explanation": explanation}, beside=found["record"])


def train(service: Service, body: bytes, who: str) -> Response:
    """``POST /train``: a job that learns from the kept records, those in ``data`` or ``training_data`` included."""
    content = parsed(body) if body.strip() else {}
    if not isinstance(content, dict):
        raise Problem(400, 'The body is an object, such as {"data": [{"name": value, ...}, ...]}, or empty.')
    given = content.get("data", content.get("training_data")) or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Problem(400, "The records to learn from are a list of objects, one a record.")
    if given:
        service.intake.take(DEFAULT, incoming(service, given))
    number = service.queue.train(DEFAULT, {"who": who})
    where = f"/v1/jobs/{number}"
    told = {"success": True, "message": "A model is being trained.", "job_id": number, "status_url": where}
    return answer(told, 202, {"Location": where})
