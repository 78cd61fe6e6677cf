from __future__ import annotations

import threading

import pytest

from tunecnn.engines.watchdog import Process, Watchdog

HEAD = Process("the head", "10.0.0.1", 6379, patience=0.2)


@pytest.fixture
def watched():
    """A watchdog of a part that answers or not, with what it said; it does not end the test."""

    class Watched:
        answers = True
        said: list[str] = []

        def __init__(self) -> None:
            self.left = threading.Event()
            self.looked = threading.Semaphore(0)
            self.dog = Watchdog({"head": HEAD}, self.left.set, self.knock, interval=0.01)
            self.dog.on_loss = lambda reason: f"{reason}; resume"

        def knock(self, address: str, port: int) -> bool:
            self.looked.release()
            assert (address, port) == ("10.0.0.1", 6379)
            return self.answers

    return Watched()


def test_a_part_that_stays_away_ends_the_session_with_a_word(watched, capsys):
    with watched.dog:
        watched.looked.acquire()
        watched.answers = False
        assert watched.left.wait(10)
    assert "error: the head (10.0.0.1:6379) has not answered for 0 s; resume" in (
        capsys.readouterr().err
    )


def test_a_part_that_comes_back_in_time_ends_nothing(watched, monkeypatch):
    monkeypatch.setattr("tunecnn.engines.watchdog._WARN_SECONDS", 0.0)
    said, back = [], threading.Event()

    def hear(text: str) -> None:
        said.append(text)
        watched.answers = True
        if "again" in text:
            back.set()

    watched.dog.on_warning = hear
    with watched.dog:
        watched.answers = False
        assert back.wait(10)
    assert not watched.left.is_set()
    assert said == [
        "the head (10.0.0.1:6379) does not answer; waiting up to 0 s for it",
        "the head answers again",
    ]
