"""The short form of `python -m tests.fuzz --only interface`: some requests of every operation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from schemathesis.core.failures import FailureGroup

from tests.fuzz.interface import Figures, fuzz_all
from tests.fuzz.scene import Scene

pytestmark = [
    # Schemathesis warns where it cannot make something wrong of a parameter; hypothesis where data is large.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),
]


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    made = Scene(tmp_path)
    yield made
    made.world.close()


def test_every_operation_answers_as_described_whatever_is_sent(scene: Scene) -> None:
    figures = fuzz_all(scene, cases=10, seed_=2026)
    assert figures.cases > 300
    answers = sum(figures.answers.values(), Counter())
    assert {200, 202, 204, 400, 401, 403, 404, 406, 415, 422} <= set(answers), answers
    assert not [status for status in answers if status >= 500]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: setattr(answer, "status_code", 500),
        lambda answer: setattr(answer, "status_code", 299),
        lambda answer: answer.set_data(b'{"title": "x", "inside": 1}'),
        lambda answer: answer.set_data(b"<html>"),
        lambda answer: answer.headers.set("Content-Type", "text/html"),
        lambda answer: answer.headers.remove("Cache-Control"),
    ],
    ids=["500", "unknown status", "unknown property", "no json", "other type", "header missing"],
)
def test_a_server_that_answers_otherwise_is_found_out(scene: Scene, spoil: Any) -> None:
    inner = scene.world.app.process_response

    def process(*given: Any) -> Any:
        answer = inner(*given)
        if answer.status_code == 200:
            spoil(answer)
        return answer

    scene.world.app.process_response = process  # type: ignore[method-assign]
    with pytest.raises(FailureGroup, match="distinct failure"):
        fuzz_all(scene, cases=10, seed_=1)


def test_the_same_seed_sends_the_same(scene: Scene) -> None:
    first, second = (fuzz_all_of_one(scene) for _ in range(2))
    assert first.answers == second.answers


def fuzz_all_of_one(scene: Scene) -> Figures:
    from tests.fuzz.interface import fuzz, operations

    figures = Figures()
    for operation in operations(scene.world):
        if operation.label == "GET /{api_root}/collections/{name}/objects/":
            fuzz(scene, operation, 20, 7, figures)
    assert figures.cases
    return figures
