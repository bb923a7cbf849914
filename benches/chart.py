#!/usr/bin/env python3
"""Draws cost against size, stock and sesscache: chart.py RESULTS > performance.svg

Four panels, both axes logarithmic. No background and colours of middle brightness, so that the
picture can be read on light and on dark pages; the two lines differ in their marks too.
"""
import math
import pathlib
import re
import sys

from svg import INK, text

PANELS = (
    ("lookup_hit", 1, "Lookup, found"),
    ("lookup_miss", 1, "Lookup, not found"),
    ("mix_50_50", 2, "Half lookups, half changes, 2 threads"),
    ("add_random_timeouts", 1, "Add, timeouts that differ"),
)
WAYS = (("stock", "OpenSSL", "#e07b00"), ("ours", "sesscache", "#2f81f7"))
WIDTH, HEIGHT, COLUMNS = 460, 290, 2
LEFT, RIGHT, TOP, BOTTOM = 76, 36, 40, 48
LEGEND = 34


def points(rows, case, threads, way):
    found = []
    for row in rows:
        match = re.fullmatch(rf"n=(\d+) threads={threads}", row["parameters"])
        if row["case"] == case and match:
            found.append((int(match[1]), float(row[way])))
    return sorted(found)


def duration(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def mark(way, x, y, colour):
    if way == "stock":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'


def line(way, places, colour):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="6 4"' if way == "stock" else ""
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"{dashes}/>'
    for x, y in places:
        yield mark(way, x, y, colour)


def panel(rows, number, case, threads, title):
    left = number % COLUMNS * WIDTH + LEFT
    top = number // COLUMNS * HEIGHT + TOP + LEGEND
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    lines = {way: points(rows, case, threads, way) for way, _, _ in WAYS}
    everything = [point for found in lines.values() for point in found]
    yield text(left + width / 2, top - 14, title, size=14, extra=' font-weight="600"')
    if not everything:
        yield text(left + width / 2, top + height / 2, "not measured")
        return
    sizes, costs = zip(*everything)
    first, last = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
    last, high = max(last, first + 1), max(high, low + 1)

    def place(size, cost):
        return (left + width * (math.log10(size) - first) / (last - first),
                top + height * (high - math.log10(cost)) / (high - low))

    for power in range(first, last + 1):
        x, _ = place(10 ** power, 10 ** low)
        yield f'<path class="grid" d="M{x:.1f} {top} v{height}"/>'
        yield text(x, top + height + 18, f"{10 ** power:,}")
    for power in range(low, high + 1):
        _, y = place(10 ** first, 10 ** power)
        yield f'<path class="grid" d="M{left} {y:.1f} h{width}"/>'
        yield text(left - 8, y + 4, duration(10 ** power), "end")
    yield text(left + width / 2, top + height + 38, "sessions in the cache")
    x, y = left - 62, top + height / 2
    yield text(x, y, "time per operation", extra=f' transform="rotate(-90 {x:.1f} {y:.1f})"')
    for way, _, colour in WAYS:
        yield from line(way, [place(*point) for point in lines[way]], colour)


def legend():
    x = COLUMNS * WIDTH / 2 - 120
    for way, name, colour in WAYS:
        yield from line(way, [(x, 20), (x + 36, 20)], colour)
        yield text(x + 48, 24, name, "start", 14)
        x += 140


def main():
    lines = pathlib.Path(sys.argv[1]).read_text().splitlines()
    heads = lines[0].split("\t")
    rows = [dict(zip(heads, line.split("\t"))) for line in lines[1:]]
    width = COLUMNS * WIDTH
    height = LEGEND + math.ceil(len(PANELS) / COLUMNS) * HEIGHT
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
          f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" '
          f'fill="{INK}">')
    print("<title>Cost of an operation against the number of cached sessions: OpenSSL's session "
          "cache and sesscache, both axes logarithmic</title>")
    print(f"<style>.grid {{ stroke: {INK}; stroke-width: 1; opacity: 0.25 }}</style>")
    print(*legend(), sep="\n")
    for number, described in enumerate(PANELS):
        print(*panel(rows, number, *described), sep="\n")
    print("</svg>")


main()
