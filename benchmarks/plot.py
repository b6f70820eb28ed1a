"""The rates of a run as an SVG: one bar each, as a share of the hello-world, on a logarithmic scale."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.figures import Figure, Unit
from benchmarks.report import GO, Run

_LABELS, _BARS, _ROW, _TOP = 420, 460, 22, 64
_COLOURS = {"reads": "#2a6f97", "sizes": "#61a5c2", "writes": "#2d6a4f", "notices": "#6a4c93", "stock": "#9d0208"}
_OTHER = "#8d99ae"


def svg(run: Run) -> str:
    """The plot as a document."""
    rates = [figure for figure in run.figures if figure.unit is Unit.PER_SECOND]
    ratios = run.measures()
    lowest, highest = _decades([ratios[figure.key] for figure in rates] + [1.0, *GO.values()])
    height = _TOP + _ROW * len(rates) + 30

    def x(ratio: float) -> float:
        share = (math.log10(max(ratio, 10.0**lowest)) - lowest) / (highest - lowest)
        return _LABELS + _BARS * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABELS + _BARS + 90} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="12" y="22" font-size="15" font-weight="600">Rates, as a share of the hello-world of the run</text>',
        f'<text x="12" y="40" fill="#555">{run.gateways} gateway process{"es" if run.gateways > 1 else ""}, '
        "64 connections, logarithmic; the mark is the Go original</text>",
    ]
    for decade in range(lowest, highest + 1):
        at = x(10.0**decade)
        strong = "#333" if decade == 0 else "#ddd"
        parts.append(f'<line x1="{at:.1f}" y1="{_TOP - 10}" x2="{at:.1f}" y2="{height - 24}" stroke="{strong}"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle" fill="#555">{10.0**decade:g}</text>')
    for row, figure in enumerate(rates):
        mark = x(GO[figure.key]) if figure.key in GO else None
        parts += _bar(figure, ratios[figure.key], _TOP + _ROW * row, x(ratios[figure.key]), mark)
    return "\n".join([*parts, "</svg>", ""])


def _bar(figure: Figure, ratio: float, y: int, end: float, mark: float | None) -> list[str]:
    colour = _COLOURS.get(figure.group, _OTHER)
    parts = [
        f'<text x="{_LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(figure.label.strip())}</text>',
        f'<rect x="{_LABELS}" y="{y}" width="{max(1.0, end - _LABELS):.1f}" height="15" fill="{colour}"/>',
    ]
    if mark is not None:
        parts.append(
            f'<line x1="{mark:.1f}" y1="{y - 2}" x2="{mark:.1f}" y2="{y + 17}" stroke="#d00" stroke-width="3"/>'
        )
    value = f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.2g}"
    # On white, since lines of the grid run through it.
    halo = 'stroke="white" stroke-width="4" paint-order="stroke"'
    parts.append(f'<text x="{max(end, mark or 0) + 6:.1f}" y="{y + 12}" fill="#333" {halo}>{value}</text>')
    return parts


def _decades(ratios: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that the ratios lie between."""
    positive = [ratio for ratio in ratios if ratio > 0]
    return math.floor(math.log10(min(positive))), max(1, math.ceil(math.log10(max(positive))))
