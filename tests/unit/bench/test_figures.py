"""What a run of the bench makes of its rounds: verdicts, plots, the README's table."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from noisegate_server.bench.claims import CLAIMS, Claim
from noisegate_server.bench.figures import Figure, Verdict
from noisegate_server.bench.measure import Taken, from_pairs
from noisegate_server.bench.plot import WIDTH, bar, svg
from tools.make_speed_table import update

LOWER = Claim(what="w", reference="r", must=2.0, aim=1.0)
HIGHER = Claim(what="w", reference="r", must=50, aim=80, better="higher")


def figure(claim: Claim, ratio: float, low: float, high: float) -> Figure:
    """A figure with these rounds."""
    return Figure(id="some-row", claim=claim, taken=Taken(ratio=ratio, low=low, high=high, detail=""), seconds=1.0)


@pytest.mark.parametrize(
    ("claim", "ratio", "low", "high", "expected"),
    [
        (LOWER, 1.0, 0.9, 3.0, Verdict.AIM),
        (LOWER, 2.0, 1.5, 3.0, Verdict.MUST),
        (LOWER, 2.1, 2.0, 3.0, Verdict.UNSURE),
        (LOWER, 2.1, 2.05, 3.0, Verdict.MISSED),
        (HIGHER, 80, 40, 90, Verdict.AIM),
        (HIGHER, 50, 40, 60, Verdict.MUST),
        (HIGHER, 49, 40, 50, Verdict.UNSURE),
        (HIGHER, 45, 40, 49, Verdict.MISSED),
    ],
)
def test_the_median_judges_and_only_the_best_round_condemns(
    claim: Claim, ratio: float, low: float, high: float, expected: Verdict
) -> None:
    """At the bounds themselves, in either direction."""
    assert figure(claim, ratio, low, high).verdict is expected


def test_a_round_whose_reference_strays_is_left_out() -> None:
    """The third round's reference is twice the others': it says something of the machine."""
    taken = from_pairs([(200.0, 100.0), (220.0, 100.0), (900.0, 200.0), (210.0, 100.0)])
    assert (taken.ratio, taken.low, taken.high) == (2.1, 2.0, 2.2)


def test_more_is_better_turns_the_range_round() -> None:
    """The inverse of the lowest round is the highest."""
    taken = Taken(ratio=0.02, low=0.01, high=0.04, detail="").inverse()
    assert (taken.ratio, taken.low, taken.high) == (50, 25, 100)


def test_in_the_plot_left_of_the_must_is_what_holds() -> None:
    """For both directions, and a figure far off stays inside."""
    must = round((WIDTH - 1) / 1.5)
    for good, bad in (
        (figure(LOWER, 1.0, 0.9, 1.1), figure(LOWER, 99.0, 98.0, 100.0)),
        (figure(HIGHER, 100, 90, 110), figure(HIGHER, 1, 0.9, 1.1)),
    ):
        assert bar(good).index("●") < must < bar(bad).index("●") < WIDTH


def test_the_picture_is_well_formed_and_names_every_row() -> None:
    """Also where a title has characters of its own meaning in XML."""
    figures = [
        Figure(id=id_, claim=claim, taken=Taken(ratio=1.0, low=0.9, high=1.1, detail=""), seconds=1.0)
        for id_, claim in CLAIMS.items()
    ]
    picture = ElementTree.fromstring(svg(figures, "a < b & c"))  # noqa: S314 - our own text
    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert set(CLAIMS) <= set(texts)
    assert "a < b & c" in texts


def test_the_readmes_table_takes_the_rows_of_a_run_and_keeps_the_others() -> None:
    """A row that the README does not have is refused."""
    row = {"id": "seam", "what": "w", "reference": "r", "ratio": 4.319, "low": 3.2, "high": 1234.5}
    before = "| `batch` | old | words | - |\n| `seam` | old | words | - |\n"
    assert update(before, [row]) == "| `batch` | old | words | - |\n| `seam` | w | r | **4.32** (3.2 to 1,234) |\n"
    with pytest.raises(KeyError, match="stray"):
        update(before, [row | {"id": "stray"}])
