#!/usr/bin/env python3
"""Prints how many connections resume by memory, and rewrites its part of docs/PERFORMANCE.md.

    make bench-hits

The simulation is the binary `hits`; replay.c makes the same connections with real handshakes.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches"
PAGE, CHART = ROOT / "docs/PERFORMANCE.md", ROOT / "docs/hits.svg"
START = "<!-- hits figures: made by make bench-hits -->"
END = "<!-- end of hits figures -->"
POLICIES = (("FIFO", "#e07b00", "6 4"), ("LRU", "#b05cc6", "2 3"), ("sesscache", "#2f81f7", ""),
            ("Belady", "#747d88", "10 3"))
PROTOCOLS = ("TLS 1.2", "TLS 1.3")
# Sessions of the table and of the replay; bytes of one, with its entry.
COMMON, REPLAYED, BYTES = 2000, 500, 1130
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LEGEND = 460, 290, 60, 24, 40, 56, 34
INK = "#747d88"


def simulate(binary):
    """{(traffic, protocol, size): {policy: per cent}}"""
    found = {}
    for line in subprocess.check_output([binary], text=True).splitlines():
        traffic, protocol, size, policy, value = line.split("\t")
        found.setdefault((traffic, protocol, int(size)), {})[policy] = float(value)
    return found


def replay(binary, library, work):
    """Rows of protocol, way, simulated and with real handshakes."""
    program = work / "replay"
    sources = [BENCHES / name for name in ("hits/replay.c", "handshake_ends.c", "bench.c")]
    flags = "-std=c11 -D_GNU_SOURCE -DOPENSSL_SUPPRESS_DEPRECATED -Wall -Wextra -Werror -O2".split()
    libraries = ["-lssl", "-lcrypto", "-lpthread"]
    subprocess.check_call([os.environ.get("CC", "gcc"), *flags, *sources, "-o", program, *libraries])
    made = subprocess.run([binary, "replay", str(REPLAYED)], capture_output=True, text=True, check=True)
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith("SESSCACHE_") and name != "LD_PRELOAD"}
    clean["OPENSSL_CONF"] = "/dev/null"
    for line, protocol in zip(made.stderr.splitlines(), PROTOCOLS):
        word, ours, fifo = line.split("\t")
        for way, expected, more in (("stock", fifo, {}), ("ours", ours, {"LD_PRELOAD": str(library)})):
            # Stock holds one session less than the limit.
            limit = REPLAYED + (way == "stock")
            out = subprocess.run([program, word, str(limit)], input=made.stdout, text=True, check=True,
                                 capture_output=True, env=clean | more).stdout.split("\t")
            if out[0] != way:
                sys.exit(f"hits.py: not {way}: {out}")
            yield protocol, way, float(expected), float(out[3])


def text(x, y, words, anchor="middle", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def panel(figures, column, row, traffic, protocol):
    left, top = column * WIDTH + LEFT, row * HEIGHT + TOP + LEGEND
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    sizes = sorted(size for name, version, size in figures if (name, version) == (traffic, protocol))
    highest = max(max(figures[traffic, protocol, size].values()) for size in sizes)
    highest = -(-highest // 10) * 10

    def place(size, value):
        return (left + width * sizes.index(size) / (len(sizes) - 1), top + height * (1 - value / highest))

    yield text(left + width / 2, top - 14, f"{traffic}, {protocol}", size=13)
    for part in range(6):
        value = highest * part / 5
        y = place(sizes[0], value)[1]
        yield f'<path d="M{left} {y:.1f}h{width}" stroke="{INK}" stroke-opacity="0.3"/>'
        yield text(left - 8, y + 4, f"{value:g} %", "end")
    for size in sizes:
        x = place(size, 0)[0]
        yield text(x, top + height + 18, f"{size:,}")
        yield text(x, top + height + 34, f"{size * BYTES / 1e6:.1f} MB", size=11)
    for policy, colour, dashes in POLICIES:
        points = " ".join("{:.1f},{:.1f}".format(*place(size, figures[traffic, protocol, size][policy]))
                          for size in sizes)
        yield (f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"'
               f' stroke-dasharray="{dashes}"/>')


def chart(figures):
    drawn = {}
    for traffic, _, size in figures:
        drawn.setdefault(traffic, set()).add(size)
    traffics = [traffic for traffic, sizes in drawn.items() if len(sizes) > 1]
    high = len(traffics) * HEIGHT + LEGEND
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {high}"'
           f' font-family="sans-serif" fill="{INK}">')
    yield "<title>Connections that resume, by the sessions that the cache holds</title>"
    for number, (policy, colour, dashes) in enumerate(POLICIES):
        x = LEFT + number * 150
        yield (f'<path d="M{x} 20h40" stroke="{colour}" stroke-width="2.5"'
               f' stroke-dasharray="{dashes}"/>')
        yield text(x + 48, 24, policy, "start")
    for row, traffic in enumerate(traffics):
        for column, protocol in enumerate(PROTOCOLS):
            yield from panel(figures, column, row, traffic, protocol)
    yield "</svg>"


def tables(figures, real):
    names = [policy for policy, _, _ in POLICIES]
    yield f"Per cent of connections that resume, with {COMMON:,} sessions:\n"
    yield f"| traffic | protocol | {' | '.join(names)} |"
    yield "|---|---|" + "---:|" * len(names)
    for (traffic, protocol, size), values in figures.items():
        if size == COMMON:
            yield f"| {traffic} | {protocol} | " + " | ".join(f"{values[name]:.1f}" for name in names) + " |"
    yield f"\nThe same with real handshakes, web, {REPLAYED} sessions:\n"
    yield "| protocol | cache | simulated | real handshakes |\n|---|---|---:|---:|"
    for protocol, way, expected, measured in real:
        cache = "OpenSSL, simulated as FIFO" if way == "stock" else "sesscache"
        yield f"| {protocol} | {cache} | {expected:.1f} | {measured:.1f} |"


def main():
    folder = ROOT / "target/release"
    binary, library = folder / "hits", folder / "libsesscache.so"
    figures = simulate(binary)
    with tempfile.TemporaryDirectory() as work:
        real = list(replay(binary, library, pathlib.Path(work)))
    body = "\n".join(tables(figures, real))
    print(body)
    page = PAGE.read_text()
    pattern = re.escape(START) + ".*?" + re.escape(END)
    PAGE.write_text(re.sub(pattern, lambda _: f"{START}\n\n{body}\n\n{END}", page, flags=re.DOTALL))
    CHART.write_text("\n".join(chart(figures)) + "\n")
    worst = max(abs(expected - measured) for _, _, expected, measured in real)
    if worst > 1.0:
        sys.exit(f"hits.py: simulation and handshakes differ by {worst:.1f} points")


main()
