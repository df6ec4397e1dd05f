"""A case that holds two causes: some of its alerts become a case of their own."""

from __future__ import annotations

from starlette.responses import Response

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import number_of
from anomaly_detection.service.pages.done import went_to
from anomaly_detection.service.pages.heading import with_heading
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.cases import get_case, split
from anomaly_detection.texts.viewer import gettext

__all__ = ["split_page", "split_this"]


def split_page(visit: Visit) -> Response:
    """``GET /cases/{id}/split``: the worst of its alerts, to choose from."""
    case = visit.get(get_case, id=visit.path["id"])
    shown = [with_heading(visit.service, each) for each in case["alerts_shown"]]
    return html("split", visit=visit, said=None, here="inbox", case=case, shown=shown)


def split_this(visit: Visit) -> Response:
    """``POST /cases/{id}/split``: the chosen ones become a new case, which is shown."""
    chosen = [int(number_of(each, "alert", whole=True)) for each in visit.form.get("alerts", ())]
    if not chosen:
        raise Problem(400, gettext("No alert is chosen."))
    made = visit.change(split, {"alerts": chosen}, id=visit.path["id"])
    return went_to(visit, f"/cases/{made['id']}")
