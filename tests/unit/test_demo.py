"""The demo's figures come from the results of its days."""

from pathlib import Path

from cluster.operations.demo import report


def test_the_days_are_summed_up(tmp_path: Path) -> None:
    output = tmp_path / "demo.csv"
    output.write_text(
        "item,input,result,exit\n"
        '2,"a line, as it came",2025-01-02 -8.0 -4.00 -1.0 24,0\n'
        "3,x,2025-07-03 9.5 12.00 30.0 0,0\n"
        "1,x,2025-01-01 -10.5 0.10 2.0 3,0\n"
    )
    found = report(output)
    assert found.startswith("2 of 3 days had frost")
    assert "2025-01-01 with -10.5 " in found
    assert "2025-07-03 with 30.0 " in found
