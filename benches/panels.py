"""Panels of a dashboard as one SVG: a line for each series, in Grafana's grid and units."""

import html
import math

from svg import INK, text

CELL_WIDTH, CELL_HEIGHT, GAP = 46, 25, 8
LEFT, RIGHT, TOP, LEGEND_LINE = 52, 12, 34, 15
COLOURS = ("#2f81f7", "#e07b00", "#3fa34d", "#b05cc6", "#d1495b", "#00949e", "#a08000", "#8c6d5a")
TICKS = 4


def picture(board, found, seconds, rows=None):
    """found: (legend, points) of each series by its panel's id. rows: only the panels above that row."""
    panels = [panel for panel in board["panels"] if rows is None or panel["gridPos"]["y"] < rows]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * CELL_HEIGHT
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * CELL_WIDTH} {height}"'
             f' font-family="sans-serif" fill="{INK}">',
             "<title>The dashboard of two hosts, drawn from a real Prometheus's answers</title>"]
    for panel in panels:
        lines += _panel(panel, found[panel["id"]], seconds)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(panel, series, seconds):
    grid, defaults = panel["gridPos"], panel["fieldConfig"]["defaults"]
    x, y = grid["x"] * CELL_WIDTH + GAP / 2, grid["y"] * CELL_HEIGHT + GAP / 2
    width, height = grid["w"] * CELL_WIDTH - GAP, grid["h"] * CELL_HEIGHT - GAP
    yield (f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="none"'
           f' stroke="{INK}" stroke-opacity="0.5"/>')
    yield text(x + 10, y + 20, html.escape(panel["title"]), "start", 13, ' font-weight="bold"')
    if panel["type"] == "stat":
        yield from _last_values(x, y, [name for name, _ in series])
        return
    # A line at 0 says nothing, and its legend would hide the rest.
    shown = [(name, points) for name, points in series if any(value for _, value in points)]
    columns = 3 if width > 400 else 2
    legend_lines = max(1, math.ceil(len(shown) / columns))
    box = x + LEFT, y + TOP, width - LEFT - RIGHT, height - TOP - 22 - legend_lines * LEGEND_LINE
    yield from _axes(box, _scale(shown, defaults), defaults.get("unit", "short"), seconds)
    for number, (name, points) in enumerate(shown):
        colour = COLOURS[number % len(COLOURS)]
        yield _line(box, points, _scale(shown, defaults), seconds, colour)
        at_x = x + 12 + (width - 20) / columns * (number % columns)
        at_y = y + height - 7 - LEGEND_LINE * (legend_lines - 1 - number // columns)
        yield f'<path d="M{at_x:.0f} {at_y - 4:.0f}h12" stroke="{colour}" stroke-width="3"/>'
        yield text(at_x + 17, at_y, html.escape(name), "start", 11)
    if not shown:
        yield text(x + 12, y + height - 7, "all at 0" if series else "never happened", "start", 11)


def _last_values(x, y, names):
    for number, name in enumerate(names):
        yield text(x + 14, y + 56 + 30 * number, html.escape(name), "start", 18, f' fill="{COLOURS[2]}"')


def _scale(series, defaults):
    """The lowest and the highest value of an axis, which has 0."""
    values = [value for _, points in series for _, value in points]
    low, high = min(values, default=0), max(values, default=1)
    return (-_round_up(-low) if low < 0 else 0), defaults.get("max") or _round_up(high)


def _axes(box, scale, unit, seconds):
    left, up, width, height = box
    low, high = scale
    for tick in range(TICKS + 1):
        at = up + height * (1 - tick / TICKS)
        yield f'<path d="M{left:.0f} {at:.1f}h{width:.0f}" stroke="{INK}" stroke-opacity="0.25"/>'
        if tick % 2 == 0:
            yield text(left - 5, at + 4, _in_unit(low + (high - low) * tick / TICKS, unit), "end", 10)
    for minute in range(0, seconds + 1, 60):
        anchor = "end" if minute == seconds else "middle"
        yield text(left + width * minute / seconds, up + height + 13, f"{minute // 60} min", anchor, 10)


def _line(box, points, scale, seconds, colour):
    left, up, width, height = box
    low, high = scale

    def place(when, value):
        return f"{left + width * when / seconds:.0f},{up + height * (high - value) / (high - low):.0f}"

    path = " ".join(place(*point) for point in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _round_up(value):
    """To 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1
    power = 10 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.999)


def _in_unit(value, unit):
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{value:.3g} s" if abs(value) >= 1 or not value else f"{1000 * value:.3g} ms"
    if unit == "Bps":
        return f"{value / 1000:.3g} kB/s"
    number = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{number}/s" if unit == "cps" else number
