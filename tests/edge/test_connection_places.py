"""Who gives way for whom."""

from __future__ import annotations

from gateway.edge.connection_places import ConnectionPlaces


class Client:
    gave_way = False

    def give_way(self) -> None:
        self.gave_way = True


def test_an_answered_connection_holds_one_place_and_gives_it_back() -> None:
    places = ConnectionPlaces(2)
    first, second, third = Client(), Client(), Client()
    assert places.enter(first)
    for _ in range(3):
        places.begin_answer(first)
        places.end_answer(first)
    assert places.enter(second)
    assert not first.gave_way
    places.leave(first)
    assert places.enter(third)
    assert not second.gave_way


def test_the_longest_waiting_gives_way_and_the_answering_never() -> None:
    places = ConnectionPlaces(2)
    answering, waiting, fresh, refused = (Client() for _ in range(4))
    for client in (answering, waiting):
        assert places.enter(client)
    places.begin_answer(answering)
    assert places.enter(fresh)
    assert (waiting.gave_way, answering.gave_way) == (True, False)
    places.begin_answer(fresh)
    assert not places.enter(refused)
