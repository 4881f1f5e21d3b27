from scripts.backoff import growing_s


def test_pauses_grow_and_end_at_the_longest() -> None:
    assert [growing_s(0.1, failures, 60) for failures in range(5)] == [0, 0.1, 0.2, 0.4, 0.8]
    assert growing_s(0.1, 11, 60) == growing_s(0.1, 10**6, 60) == 60
