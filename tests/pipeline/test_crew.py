"""Orders outlive the places at which they are done."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from veilcast.config import Limits
from veilcast.errors import WorkerDied
from veilcast.pipeline.crew import LOSSES, LocalCrew, Post, PostedCrew, PostLost
from veilcast.pipeline.supervise import Progress

Json = dict[str, Any]


class Place(Post):
    """A post that goes away `losses` times in the middle of an order. `open`: whether anybody is there."""

    def __init__(self, losses: int = 0, is_open: bool = True) -> None:
        self.losses, self.open = losses, threading.Event()
        self.did: list[str] = []
        if is_open:
            self.open.set()

    def arrive(self) -> bool:
        return self.open.wait(0.01)

    def perform(self, job: Json, limits: Limits, on_progress: object) -> Json:
        if self.losses:
            self.losses -= 1
            self.open.clear()
            raise PostLost("the machine is gone")
        self.did.append(job["name"])
        return {"did": job["name"]}

    def leave(self) -> None:
        """Nothing is held here."""


def test_an_order_waits_for_whoever_is_there_when_its_place_is_lost() -> None:
    lost, stays = Place(losses=1), Place(is_open=False)
    with PostedCrew([lost, stays]) as crew:
        answer = crew.submit({"name": "a"}, Limits())
        time.sleep(0.1)
        assert not answer.done()
        stays.open.set()
        assert answer.result(30) == {"did": "a"}
    assert stays.did == ["a"]


def test_a_place_without_anybody_takes_no_order() -> None:
    empty, busy = Place(is_open=False), Place()
    with PostedCrew([empty, busy]) as crew:
        answers = [crew.submit({"name": str(n)}, Limits()) for n in range(20)]
        assert [answer.result(30)["did"] for answer in answers] == [str(n) for n in range(20)]


def test_an_order_that_ends_every_place_is_given_back() -> None:
    class Cursed(Place):
        def perform(self, job: Json, limits: Limits, on_progress: object) -> Json:
            self.did.append(job["name"])
            raise PostLost("the machine is gone")

    post = Cursed()
    with PostedCrew([post]) as crew, pytest.raises(WorkerDied):
        crew.submit({"name": "a"}, Limits()).result(30)
    assert len(post.did) == LOSSES


@pytest.mark.parametrize("taken", [False, True])
def test_closing_answers_orders_that_nobody_will_do(taken: bool) -> None:
    crew = PostedCrew([Place(losses=int(taken), is_open=taken)])
    answer = crew.submit({"name": "a"}, Limits())
    time.sleep(0.05)
    crew.close()
    with pytest.raises(WorkerDied):
        answer.result(30)


def test_nobody_for_long_is_told() -> None:
    with (
        PostedCrew([Place(is_open=False)], patience_s=0.05) as crew,
        pytest.raises(WorkerDied, match="nobody was there"),
    ):
        crew.submit({"name": "a"}, Limits()).result(30)


# takes its time for every job, and says whose the answer is
SLOW = """
import json, os, sys, time
def say(value): os.write(int(sys.argv[1]), json.dumps(value).encode() + b"\\n")
for line in sys.stdin:
    say({"progress": ["finding", 1, 2]})
    time.sleep(0.3)
    say({"result": {"did": json.loads(line)["name"]}})
"""


class NoRoom(Exception):
    """Whoever heard of progress could not note it."""


def test_no_order_gets_the_answer_of_one_that_was_given_up() -> None:
    def full(progress: Progress) -> None:
        raise NoRoom

    with LocalCrew(1, (sys.executable, "-c", SLOW)) as crew:
        given_up = crew.submit({"task": "scout", "name": "a"}, Limits(), full)
        assert crew.submit({"task": "scout", "name": "b"}, Limits()).result(30) == {"did": "b"}
        with pytest.raises(NoRoom):
            given_up.result(30)
