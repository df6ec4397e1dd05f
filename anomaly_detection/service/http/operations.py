"""`Operation`: one thing that our own API does, and all that its document says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anomaly_detection.service.access.rights import OPEN, Caller, Need
from anomaly_detection.service.http.json_answer import parsed
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import LARGEST, MOMENT, Shape, check, flag_of, moment_of, number_of
from anomaly_detection.service.streams.streams import NAMED, is_name

__all__ = ["Call", "Operation", "Parameter"]

ID: Shape = {"type": "integer", "minimum": 0}
NAME: Shape = {
    "type": "string",
    "pattern": r"^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,64}$",
    "description": f"a text of {NAMED}",
}
MOST = 10
"""Of values of a parameter that may be given several times."""

NUMBERS = ("id", "version")
"""The parts of paths that are whole numbers."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query, or a header.

    Attributes
    ----------
    name : str
    what : str
        What it says, in words.
    shape : dict
        What its value must look like.
    default : object
        Its value where it is not given.
    where : {"query", "header"}
    many : bool
        Whether it may be given several times: then its value is a list, of at most `MOST`.
    """

    name: str
    what: str
    shape: Shape
    default: Any = None
    where: str = "query"
    many: bool = False

    def read(self, written: str) -> Any:
        """The value of what was written."""
        kind = self.shape.get("type")
        if self.shape is MOMENT:
            return moment_of(written, self.name)
        value: Any = written
        if kind in ("integer", "number"):
            value = number_of(written, self.name, whole=kind == "integer")
        elif kind == "boolean":
            value = flag_of(written, self.name)
        return check(value, self.shape, self.name)

    @property
    def described(self) -> dict[str, Any]:
        """For the document."""
        shape = self.shape if self.default is None else {**self.shape, "default": self.default}
        if shape.get("type") == "string":
            # No name and no text here has a NUL.
            shape = {"pattern": r"^[^\x00]*$", **shape}
        if self.many:
            shape = {"type": "array", "items": shape, "maxItems": MOST}
        return {"name": self.name, "in": self.where, "schema": shape, "description": self.what}


@dataclass(frozen=True)
class Call:
    """A request, as an operation sees it.

    Attributes
    ----------
    path : mapping
        The parts of the path that vary; those called ``id`` and ``version`` are whole numbers.
    query : mapping
        Every parameter of the query, with its value or its default.
    caller : Caller
        Who asks.
    headers : mapping of str to str
        By lower-case name.
    body : bytes
    content : object
        The body's JSON, where the operation takes JSON.
    address : str
        Where it comes from.
    """

    path: Mapping[str, Any]
    query: Mapping[str, Any]
    caller: Caller
    headers: Mapping[str, str]
    body: bytes = b""
    content: Any = None
    address: str = ""

    @property
    def who(self) -> str:
        """The name of who asks, as the audit has it."""
        return self.caller.name

    @property
    def id(self) -> int:
        """The number in the path."""
        return int(self.path["id"])

    @property
    def name(self) -> str:
        """The name in the path, of a stream."""
        return str(self.path["name"])


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked for.

    Attributes
    ----------
    method, path : str
        As OpenAPI writes them.
    needs : Need
        What somebody must have who asks for it.
    run : callable
        Takes the service and a `Call`, gives the answer; it may block.
    summary : str
    answer : dict
        The shape of what is answered.
    what : str
        What is answered, in words.
    parameters : sequence of Parameter
    body : dict, optional
        The shape of a JSON body, which is checked; or, by their type, those of other bodies, which `run` looks at.
    media : mapping of str to dict
        Bodies of other types than JSON.
    needs_body : bool
    statuses : sequence of int
        Of answers that are none, besides those that every operation of its kind has.
    good : int
        The status of the answer.
    also : mapping of int to str
        Other good statuses, and what they say.
    kinds : sequence of str
        Other types of the answer than JSON.
    turn : {"", "judging", "logins"}
        Of what it waits its turn, which takes a processor's time.
    takes_request : bool
        Whether `run` is a coroutine that also takes the request, whose body is not read yet, and what has a function
        wait its turn.
    """

    method: str
    path: str
    run: Callable[..., Any]
    summary: str
    answer: Shape
    what: str
    parameters: Sequence[Parameter] = ()
    body: Shape | None = None
    media: Mapping[str, Shape] = field(default_factory=dict)
    needs_body: bool = True
    statuses: Sequence[int] = ()
    good: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    kinds: Sequence[str] = ()
    turn: str = ""
    takes_request: bool = False
    needs: Need = field(kw_only=True)

    def read_path(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of the path; `Problem` (404) for a number that no row has, (400) for what is no name."""
        return {name: _number(each) if name in NUMBERS else _name(each) for name, each in given.items()}

    def read_query(self, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The parameters; `Problem` (400) for an unknown one, one that is given twice, or an odd value."""
        known = {each.name: each for each in self.parameters if each.where == "query"}
        values: dict[str, Any] = {}
        for name, written in given:
            if name not in known:
                hint = f"; it may have {', '.join(known)}" if known else ""
                raise Problem(400, f"Unknown parameter {name[:64]!r}{hint}.")
            value = known[name].read(written)
            if known[name].many:
                values.setdefault(name, []).append(value)
                if len(values[name]) > MOST:
                    raise Problem(400, f"The parameter {name} is given more than {MOST} times.")
                continue
            if name in values:
                raise Problem(400, f"The parameter {name} is given twice.")
            values[name] = value
        return {name: values.get(name, each.default) for name, each in known.items()}

    def read_content(self, body: bytes, content_type: str) -> Any:
        """The JSON of a body that this takes; None where it takes none, or another kind came."""
        if self.body is None:
            return None
        if not body.strip() and not self.needs_body:
            return None
        kind = content_type.partition(";")[0].strip().lower()
        if kind in self.media:
            return None
        if kind not in ("", "application/json", "application/x-www-form-urlencoded"):
            raise Problem(415, f"{kind[:64]} is not read here; send JSON.")
        return check(parsed(body), self.body, "The body")

    @property
    def takes_body(self) -> bool:
        """Whether it has one."""
        return self.body is not None or bool(self.media)

    @property
    def described(self) -> dict[str, Any]:
        """For the document."""
        parts = re.findall(r"{(\w+)}", self.path)
        shapes = {name: ID if name in NUMBERS else NAME for name in parts}
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": shapes[name], "description": f"Its {name}."}
            for name in parts
        ]
        good: dict[str, Any] = {"application/json": {"schema": self.answer}} if self.answer else {}
        good |= {kind: {} for kind in self.kinds}
        answers: dict[str, Any] = {str(self.good): {"description": self.what, **({"content": good} if good else {})}}
        for status, said in self.also.items():
            answers[str(status)] = {
                "description": said,
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        for status in self._statuses(bool(parts)):
            answers[str(status)] = {"$ref": "#/components/responses/Problem"}
        made: dict[str, Any] = {
            "operationId": self.run.__name__,
            "summary": self.summary,
            "description": _told(self.needs),
            "parameters": [*parameters, *(each.described for each in self.parameters)],
            "responses": answers,
        }
        if self.takes_body:
            bodies = {} if self.body is None else {"application/json": {"schema": self.body}}
            bodies |= {kind: {"schema": shape} for kind, shape in self.media.items()}
            made["requestBody"] = {"required": self.needs_body, "content": bodies}
        if self.needs.right == OPEN:
            made["security"] = []
        return made

    def _statuses(self, has_path: bool) -> list[int]:
        found = {400, 401, 403, 421, 429, 503, *self.statuses}
        if has_path:
            found.add(404)
        if self.method != "GET":
            found.add(507)
        if self.takes_body:
            found |= {408, 413, 415}
        return sorted(found)


def _told(needs: Need) -> str:
    about = {"all": " A key of certain streams does not do.", "none": ""}
    right = "Everybody may." if needs.right == OPEN else f"Needs the right to {needs.right}."
    return right + about.get(needs.stream, " A key of certain streams does for these.")


def _number(number: int) -> int:
    if number > LARGEST:
        raise Problem(404, f"There is nothing with the number {number}.")
    return number


def _name(written: str) -> str:
    if not is_name(written):
        raise Problem(400, f"A name has {NAMED}.")
    return written
