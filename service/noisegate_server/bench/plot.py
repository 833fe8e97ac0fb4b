"""The rounds of every row against its must and aim: one line of text in a terminal, one SVG for a page.

All rows share one scale: the must is 1, the better side is left. So the eye needs no number: what lies left of the
line holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from noisegate_server.bench.figures import Figure, Verdict

__all__ = ["WIDTH", "bar", "svg"]

SCALE: Final = 1.5
"""The right end, in musts."""
WIDTH: Final = 31
"""Characters of a bar."""
_COLOURS: Final = {
    Verdict.AIM: "#1a7f37",
    Verdict.MUST: "#1a7f37",
    Verdict.UNSURE: "#9a6700",
    Verdict.MISSED: "#cf222e",
}
_LABEL, _CHART, _ROW, _TOP = 130, 520, 26, 48


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where the marks of a row lie, 0 at the left end and 1 at the right."""

    low: float
    ratio: float
    high: float
    aim: float


MUST: Final = 1 / SCALE


def _spot(figure: Figure) -> _Spot:
    claim, taken = figure.claim, figure.taken

    def place(value: float) -> float:
        musts = value / claim.must if claim.better == "lower" else claim.must / value
        return min(musts, SCALE) / SCALE

    ends = sorted((place(taken.low), place(taken.high)))
    return _Spot(low=ends[0], ratio=place(taken.ratio), high=ends[1], aim=place(claim.aim))


def bar(figure: Figure) -> str:
    """`├──●──┤` for the rounds and their figure, `¦` for the aim, `│` for the must."""
    spot = _spot(figure)
    low, ratio, high, aim, must = (
        round(place * (WIDTH - 1)) for place in (spot.low, spot.ratio, spot.high, spot.aim, MUST)
    )
    line = [" "] * WIDTH
    line[aim] = "¦"
    line[must] = "│"
    if low < high:
        line[low : high + 1] = ["├", *"─" * (high - low - 1), "┤"]
    line[ratio] = "●"
    return "".join(line).rstrip()


def svg(figures: Sequence[Figure], title: str) -> str:
    """The same as a picture of its own."""
    width, height = _LABEL + _CHART + 90, _TOP + _ROW * len(figures) + 12
    must = _LABEL + _CHART * MUST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18">{escape(title)}</text>',
        f'<text x="{must:.0f}" y="{_TOP - 10}" text-anchor="middle" fill="#57606a">must</text>',
        f'<line x1="{must:.1f}" y1="{_TOP - 6}" x2="{must:.1f}" y2="{height - 8}" stroke="#57606a"/>',
    ]
    for number, figure in enumerate(figures):
        y = _TOP + _ROW * number + _ROW // 2
        spot, colour = _spot(figure), _COLOURS[figure.verdict]
        low, ratio, high, aim = (_LABEL + _CHART * place for place in (spot.low, spot.ratio, spot.high, spot.aim))
        parts += [
            f'<text x="8" y="{y + 4}">{escape(figure.id)}</text>',
            f'<line x1="{aim:.1f}" y1="{y - 8}" x2="{aim:.1f}" y2="{y + 8}" stroke="#57606a" stroke-dasharray="2 2"/>',
            f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="{colour}" stroke-width="5"/>',
            f'<circle cx="{ratio:.1f}" cy="{y}" r="5" fill="{colour}"/>',
            f'<text x="{_LABEL + _CHART + 12}" y="{y + 4}">{figure.taken.ratio:.4g}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
