"""The audit as a page: who changed what, and when."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response

from anomaly_detection.service.pages.rendering import as_files, html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.audit import list_audit
from anomaly_detection.texts.viewer import midnight

__all__ = ["audit_page"]

_FIELDS = ("who", "what", "subject", "since", "until", "text")


def audit_page(visit: Visit) -> Response:
    """``GET /audit``: the newest lines, or those that the address asks for."""
    asked = {name: value for name, value in visit.query if value}
    # Days are the viewer's, and the last one is in it.
    spans: dict[str, str] = {
        name: midnight(asked[name], name == "until") for name in ("since", "until") if name in asked
    }
    found = visit.get(list_audit, [*{**asked, **spans}.items()])
    wanted = {name: value for name, value in asked.items() if name != "after"}
    return html(
        "audit",
        visit=visit,
        said=None,
        here="audit",
        lines=found["audit"],
        shown={name: asked.get(name, "") for name in _FIELDS},
        next=None if found["next"] is None else "/audit?" + urlencode({**wanted, "after": found["next"]}),
        files=as_files("/v1/audit", [*{**wanted, **spans}.items()]),
    )
