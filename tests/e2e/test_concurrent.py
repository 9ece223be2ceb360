"""Writers and pollers at the same time, on two worker processes: what was acknowledged arrives, once, in order."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.e2e.server import Server
from tests.world import LAST, MT, indicator

WRITE_S = 5.0
#: Each writer has posted so often at least, however slow the machine is.
ROUNDS = 4
WRITERS = 4
PATIENCE_S = 20.0


class Traffic:
    """Some seconds of posts and polls on one collection."""

    def __init__(self, server: Server, lane_id: str) -> None:
        self.url = server.objects_url(lane_id)
        self.headers = {"Accept": MT, "Content-Type": MT, "Authorization": f"Bearer {server.token('rw')}"}
        self.acknowledged: set[str] = set()
        self.lock = threading.Lock()
        self.written = threading.Event()
        self.stop_at = time.monotonic() + WRITE_S

    def session(self) -> requests.Session:
        session = requests.Session()
        session.headers.update(self.headers)
        return session

    def write(self, number: int) -> int:
        """Post bodies of different sizes until time is up; how many requests."""
        rounds = 0
        with self.session() as session:
            while time.monotonic() < self.stop_at or rounds < ROUNDS:
                made = [indicator() for _ in range(1 + (number * 7 + rounds * 3) % 25)]
                answer = session.post(self.url, json={"objects": made}, timeout=60)
                assert answer.status_code == 202, answer.text
                assert answer.json()["success_count"] == len(made)
                with self.lock:
                    self.acknowledged.update(each["id"] for each in made)
                rounds += 1
        return rounds

    def poll(self, by: str) -> list[str]:
        """Every id seen, in the order of arrival, until all that was acknowledged is there (or patience ends)."""
        seen: list[str] = []
        got: set[str] = set()
        cursor = ""
        deadline = float("inf")
        with self.session() as session:
            while time.monotonic() < deadline:
                if self.written.is_set():
                    deadline = min(deadline, time.monotonic() + PATIENCE_S)
                params = {"limit": "40"} | ({"added_after": cursor} if cursor else {})
                while True:
                    answer = session.get(self.url, params=params, timeout=60)
                    assert answer.status_code == 200, answer.text
                    page = answer.json()
                    new = [each["id"] for each in page.get("objects", [])]
                    assert new or not page.get("more")
                    seen += new
                    got.update(new)
                    cursor = answer.headers[LAST]
                    if by == "header" or "next" not in page:
                        break
                    params = {"limit": "40", "next": page["next"]}
                if self.written.is_set() and got >= self.acknowledged:
                    break
        return seen


def test_pollers_get_what_was_acknowledged_once_and_in_order(server: Server, lane_id: str) -> None:
    traffic = Traffic(server, lane_id)
    with ThreadPoolExecutor(8) as pool:
        pollers = [pool.submit(traffic.poll, by) for by in ("next", "header", "next", "header")]
        writers = [pool.submit(traffic.write, number) for number in range(WRITERS)]
        try:
            assert all(each.result() > 1 for each in writers)
        finally:
            traffic.written.set()
        polls = [each.result() for each in pollers]
    assert len(traffic.acknowledged) > 100
    manifest = _manifest(server, lane_id)
    assert set(manifest) == traffic.acknowledged
    for seen in polls:
        lost = traffic.acknowledged - set(seen)
        twice = [each for each, count in Counter(seen).items() if count > 1]
        assert (len(lost), len(twice), set(seen) - traffic.acknowledged) == (0, 0, set())
        assert seen == manifest, "out of order"


def test_the_same_object_posted_by_many_at_once_is_stored_once(server: Server, lane_id: str) -> None:
    made = [indicator() for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.post(lane_id, made), range(8)))
    assert [answer.status_code for answer in answers] == [202] * 8
    assert all(answer.json()["success_count"] == 20 for answer in answers)
    assert _manifest(server, lane_id) == [each["id"] for each in made]


def test_posts_and_deletes_of_one_object_at_once_leave_a_store_that_answers(server: Server, lane_id: str) -> None:
    made = indicator()
    url = f"{server.objects_url(lane_id)}{made['id']}/"

    def work(number: int) -> int:
        if number % 2:
            return server.post(lane_id, [made]).status_code
        return server.request("DELETE", url).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = set(pool.map(work, range(40)))
    assert statuses <= {200, 202, 404}
    assert _manifest(server, lane_id) in ([], [made["id"]])


def _manifest(server: Server, lane_id: str) -> list[str]:
    """Every id of the collection in its order."""
    url = server.objects_url(lane_id).replace("/objects/", "/manifest/")
    found: list[str] = []
    params = {"limit": "1000", "match[version]": "all"}
    while True:
        page = server.get(url, params=params).json()
        found += [each["id"] for each in page.get("objects", [])]
        if "next" not in page:
            return found
        params = {"next": page["next"]}
