"""`Done`: what was done, and where the visitor was when doing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import Response

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.pages.visit import Visit

__all__ = ["Done", "done_by", "seen", "went_to"]


@dataclass(frozen=True)
class Done:
    """What was done: a sentence, and what a key takes back.

    Attributes
    ----------
    sentence : str
    cases : str
        Numbers of the cases whose change can be taken back, with commas between them.
    rule : int or None
        The rule that can be revoked.
    effects : tuple of pairs of str
        Of streams that have learned from it, the name and what moved.
    """

    sentence: str
    cases: str = ""
    rule: int | None = None
    effects: tuple[tuple[str, str], ...] = ()


def done_by(visit: Visit, doing: Mapping[str, Callable[[Visit], str]]) -> Done:
    """Do what the button that was pressed stands for, which gives what is told of it."""
    return Done(doing[visit.button(doing, "This page can")](visit))


def seen(visit: Visit) -> tuple[str, Visit]:
    """The path of the page that htmx sent this from, and the same visit with the query of that page.

    `Problem` (400) where that is no address.
    """
    try:
        where = urlsplit(visit.headers.get("hx-current-url", "/"))
    except ValueError as error:
        raise Problem(400, "HX-Current-URL is no address.") from error
    return where.path or "/", replace(visit, query=parse_qsl(where.query, keep_blank_values=True))


def went_to(visit: Visit, where: str) -> Response:
    """To another page: a browser is sent; htmx would follow that unseen, so it is told."""
    if "hx-request" in visit.headers:
        return Response(headers={"HX-Redirect": where})
    return Response(status_code=303, headers={"Location": where})
