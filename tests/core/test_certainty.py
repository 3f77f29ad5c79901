from gateway.core.certainty import Understanding


def test_what_a_recogniser_is_sure_of_is_acted_on() -> None:
    understanding = Understanding()
    assert understanding.is_clear(0.9)
    assert understanding.is_clear(None)
    assert not understanding.is_clear(0.01)


def test_nobody_is_asked_for_ever() -> None:
    understanding = Understanding()
    assert [understanding.is_clear(0.01) for _ in range(4)] == [False, False, True, False]
    assert understanding.is_clear(0.9)
    assert [understanding.is_clear(0.0) for _ in range(3)] == [False, False, True]
