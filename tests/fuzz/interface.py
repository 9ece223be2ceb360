"""Requests made from the description of the interface by schemathesis, as it asks and as it does not, to a hub.

Every case draws one operation's parameters and body, right or wrong ones, who sends it (a partner, a wrong secret, a
malformed header, nobody) and what it accepts. Names in the URL are those of things that are there, or drawn.
Every answer must be one of the description: no 5xx, its status, headers, media type and schema. A few cases are sent
every time (CERTAIN), so that each kind of answer comes about.

A failure is printed with its seed; `python -m tests.fuzz --seed N` repeats a run.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from taxii_server.web.openapi import describe
from tests.fuzz.scene import PARTNERS, Scene
from tests.world import MT, World, indicator

#: A case that takes longer has met something that must not grow so; generous, for a machine that is shared.
SLOW = timedelta(seconds=30)
_CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
#: What no partner has: each is answered 401.
WRONG = (
    None,
    "Basic",
    "Basic !!!",
    "Basic " + base64.b64encode(b"owner").decode(),
    "Basic " + base64.b64encode(b"owner:wrong").decode(),
    "Basic " + base64.b64encode(b"nobody:wrong").decode(),
    "Basic " + base64.b64encode(b"\xff\xfe:\x00").decode(),
    "Bearer",
    "Bearer wrong",
    "Bearer txs_" + "A" * 3000,
    "Digest username=owner",
    "Negotiate",
    "\u00e9",
)
_ACCEPTS = st.sampled_from(
    [MT] * 9 + ["application/taxii+json", "*/*", "text/html", "application/taxii+json;version=2.0"]
)
#: Of a body; None: that of the description. Wrong ones hardly ever come about by themselves.
_CONTENT_TYPES = st.sampled_from([None] * 3 + ["text/plain"])


@dataclass(frozen=True)
class Certain:
    """One case of an operation that is sent every time, whatever is drawn beside it, and the status of its answer."""

    operation: str
    status: int
    sender: str | None = "owner"
    accept: str = MT
    content_type: str = MT
    names: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    objects: list[Any] | None = None


_OBJECTS = "/{api_root}/collections/{name}/objects/"
#: A case of each kind of answer: what hypothesis draws changes with its release, and may leave one of them out.
CERTAIN = (
    Certain(f"GET {_OBJECTS}", 200),
    Certain(f"POST {_OBJECTS}", 202, objects=[indicator()]),
    Certain(f"OPTIONS {_OBJECTS}", 204),
    Certain(f"GET {_OBJECTS}", 400, query={"limit": "many"}),
    Certain(f"GET {_OBJECTS}", 401, sender=None),
    Certain(f"POST {_OBJECTS}", 403, sender="reader", objects=[indicator()]),
    Certain(f"GET {_OBJECTS}", 404, names={"name": "nothing-of-this-name"}),
    Certain(f"GET {_OBJECTS}", 406, accept="text/html"),
    Certain(f"POST {_OBJECTS}", 415, content_type="text/plain", objects=[indicator()]),
    Certain(f"POST {_OBJECTS}", 422, objects=[]),
)


@dataclass
class Figures:
    """What was sent and answered: operation -> status -> count."""

    answers: dict[str, Counter[int]] = field(default_factory=dict)

    def add(self, operation: str, status: int) -> None:
        self.answers.setdefault(operation, Counter())[status] += 1

    @property
    def cases(self) -> int:
        return sum(sum(each.values()) for each in self.answers.values())


def operations(world: World) -> Iterator[Any]:
    """The operations of the description, against this hub."""
    schema = schemathesis.openapi.from_dict(describe())
    schema.app = world.app
    for found in schema.get_all_operations():
        yield found.ok()


def fuzz(scene: Scene, operation: Any, cases: int, seed_: int, figures: Figures) -> None:
    """Send so many cases of one operation. Raises what the first, smallest failing case raises."""

    @seed(seed_)
    @settings(
        max_examples=cases,
        deadline=SLOW,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )
    @given(st.data())
    def send(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]), label="mode")
        case = data.draw(strategies[mode], label="case")
        names = list(case.path_parameters or ())
        real = data.draw(st.sampled_from([len(names)] * 8 + list(range(len(names)))), label="parts that are there")
        for name in names[:real]:
            case.path_parameters[name] = scene.values[name]
        # The console is a site of its own, of which the description says nothing. Its name is drawn now and then.
        assume((case.path_parameters or {}).get("api_root") != "console")
        authorization, known = data.draw(st.sampled_from(senders), label="sender")
        # The checks read bodies as they come.
        headers = {"Accept": data.draw(_ACCEPTS, label="Accept"), "Accept-Encoding": "identity"}
        if authorization is not None:
            headers["Authorization"] = authorization
        if operation.body and (content_type := data.draw(_CONTENT_TYPES, label="Content-Type")) is not None:
            headers["Content-Type"] = content_type
        response = case.call(headers=headers)
        figures.add(operation.label, response.status_code)
        case.validate_response(response, checks=_CHECKS)
        if not known and is_closed:
            assert response.status_code == 401, f"{authorization!r} is answered {response.status_code}"
        if known:
            assert response.status_code != 401, f"{authorization!r} is not let in"

    strategies = {mode: operation.as_strategy(generation_mode=mode) for mode in _modes(operation)}
    strategies.setdefault(GenerationMode.NEGATIVE, strategies[GenerationMode.POSITIVE])
    senders = [(scene.world.basic(name), True) for name in (*PARTNERS, *["owner"] * 30)]
    senders += [*((f"Bearer {scene.world.tokens[name]}", True) for name in PARTNERS)]
    senders += [(value, False) for value in WRONG]
    is_closed = operation.path not in ("/healthz", "/livez", "/readyz")
    scene.refill()
    for certain in CERTAIN:
        if certain.operation == operation.label:
            _send_certain(scene, operation, certain, figures)
    send()


def _send_certain(scene: Scene, operation: Any, certain: Certain, figures: Figures) -> None:
    names = {each.name: scene.values[each.name] for each in operation.path_parameters}
    more: dict[str, Any] = {}
    headers = {"Accept": certain.accept, "Accept-Encoding": "identity"}
    if certain.sender is not None:
        headers["Authorization"] = scene.world.basic(certain.sender)
    if certain.objects is not None:
        more = {"body": {"objects": certain.objects}, "media_type": MT}
        headers["Content-Type"] = certain.content_type
    case = operation.Case(path_parameters=names | certain.names, query=dict(certain.query), **more)
    response = case.call(headers=headers)
    figures.add(operation.label, response.status_code)
    case.validate_response(response, checks=_CHECKS)
    assert response.status_code == certain.status, f"{certain}: {response.status_code}"


def _modes(operation: Any) -> list[GenerationMode]:
    """Without a parameter or a body there is nothing to be wrong."""
    has_input = any(True for _ in operation.iter_parameters()) or operation.body
    return [GenerationMode.POSITIVE, GenerationMode.NEGATIVE] if has_input else [GenerationMode.POSITIVE]


def fuzz_all(
    scene: Scene, cases: int, seed_: int, progress: Callable[[str, Figures], None] = lambda label, figures: None
) -> Figures:
    """So many cases of every operation. Raises the first failure, with the seed in a note."""
    figures = Figures()
    for operation in operations(scene.world):
        try:
            # HEAD and OPTIONS are made of the same parts as the others.
            share = 1 if operation.method in ("get", "post", "delete") else 4
            fuzz(scene, operation, max(cases // share, 3), seed_ ^ zlib.crc32(operation.label.encode()), figures)
        except BaseException as error:
            error.add_note(f"{operation.label}, seed {seed_}")
            raise
        progress(operation.label, figures)
    return figures
