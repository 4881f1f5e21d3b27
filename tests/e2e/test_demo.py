"""The demo, twice: the second run finds everything there."""

from tests.e2e.conftest import CommandLine


def test_the_demo_sums_up_a_year(inv: CommandLine) -> None:
    for _ in range(2):
        report = inv("demo")
        assert "365 days became 365 files" in report
        assert "Jan  -12.8   -4.7    3.6   31 " in report
        assert "Jul   10.0   20.2   31.9    0" in report
        assert "./inv down" in report
    assert f"{inv.settings.project}-worker-demo-2" in inv("status")
    inv("down")
    assert "nothing runs here" in inv("status")
