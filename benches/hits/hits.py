#!/usr/bin/env python3
"""Prints how many connections resume by memory, and rewrites its part of docs/PERFORMANCE.md.

    make bench-hits
    make bench-hits BEFORE=/path/of/an/older/libsesscache.so

The simulation is the binary `hits`; replay.c makes some of the same connections with real handshakes. With
BEFORE it makes more of them, also with that library, which takes an hour.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from svg import INK, text

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches"
PAGE, CHART = ROOT / "docs/PERFORMANCE.md", ROOT / "docs/hits.svg"
START = "<!-- hits figures: made by make bench-hits -->"
END = "<!-- end of hits figures -->"
POLICIES = (("FIFO", "#e07b00", "6 4"), ("LRU", "#b05cc6", "2 3"), ("sesscache", "#2f81f7", ""),
            ("Belady", "#747d88", "10 3"))
PROTOCOLS = ("TLS 1.2", "TLS 1.3")
# Sessions of the table, and bytes of one with its entry.
COMMON, BYTES = 2000, 1130
# Replayed: place, sessions in the process, traffic. In the process 1 leaves all to the store.
REPLAYED = (("process", 500, "web, 400 clients, 50 % strangers, all"), ("store", 1, "Zipf 0.9, 50 % once"))
RETURNS = "web, {} clients, 50 % strangers, those who return"
COMPARED = tuple(("store", 1, traffic) for traffic in (
    *(f"Zipf {power}, {once} % once" for once in (50, 80) for power in ("0.8", "0.9", "1.0")),
    "Zipf 0.9, 50 % once, scanned", "Zipf 0.9, 50 % once, others every 200 s",
    "Zipf 0.9, 50 % once, good for 300 s", RETURNS.format(1500), RETURNS.format(6000)))
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LEGEND = 460, 290, 60, 24, 40, 56, 34


def simulate(binary):
    """{place: {(traffic, protocol, size): {policy: per cent}}}"""
    found = {"process": {}, "store": {}}
    for line in subprocess.check_output([binary], text=True).splitlines():
        place, traffic, protocol, size, policy, value = line.split("\t")
        found[place].setdefault((traffic, protocol, int(size)), {})[policy] = float(value)
    return found


def build(work):
    program = work / "replay"
    sources = [BENCHES / name for name in ("hits/replay.c", "handshake_ends.c", "bench.c")]
    flags = "-std=c11 -D_GNU_SOURCE -DOPENSSL_SUPPRESS_DEPRECATED -Wall -Wextra -Werror -O2 -rdynamic".split()
    libraries = ["-lssl", "-lcrypto", "-lpthread"]
    subprocess.check_call([os.environ.get("CC", "gcc"), *flags, *sources, "-o", program, *libraries])
    return program


def handshakes(program, library, place, arguments, connections):
    """Per cent of the connections that resume, with a library or on stock."""
    settings = {name: value for name, value in os.environ.items()
                if not name.startswith("SESSCACHE_") and name != "LD_PRELOAD"}
    settings["OPENSSL_CONF"] = "/dev/null"
    if library:
        settings["LD_PRELOAD"] = str(library)
    if place == "store":
        settings["SESSCACHE_STORE"] = "shm:?size=1M"
    out = subprocess.run([program, *arguments], input=connections, text=True, check=True, capture_output=True,
                         env=settings).stdout.split("\t")
    if out[0] != ("ours" if library else "stock"):
        sys.exit(f"hits.py: not with {library}: {out}")
    return float(out[3])


def replay(binary, library, before, work):
    """Rows of place, traffic, protocol, library, simulated and with real handshakes."""
    program = build(work)
    for place, size, traffic in REPLAYED + (COMPARED if before else ()):
        made = subprocess.run([binary, "replay", place, str(size), traffic], capture_output=True, text=True,
                              check=True)
        for line, protocol in zip(made.stderr.splitlines(), PROTOCOLS):
            word, lifetime, ours, fifo = line.split("\t")
            # Stock holds one session less than the limit.
            ways = [("sesscache", ours, library, size)]
            if place == "process":
                ways.insert(0, ("OpenSSL, simulated as FIFO", fifo, None, size + 1))
            elif before:
                ways.insert(0, ("before, simulated as FIFO", fifo, before, size))
            for way, expected, preloaded, limit in ways:
                measured = handshakes(program, preloaded, place, [word, str(limit), lifetime], made.stdout)
                yield place, traffic, protocol, way, float(expected), measured


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


def table(figures, size, names, ratios):
    """Per cent by policy, and sesscache's times others'."""
    columns = [*names, *(f"× {name}" for name in ratios)]
    yield f"| traffic | protocol | {' | '.join(columns)} |"
    yield "|---|---|" + "---:|" * len(columns)
    for (traffic, protocol, sessions), values in figures.items():
        if sessions == size:
            cells = [f"{values[name]:.1f}" for name in names]
            cells += [f"{values['sesscache'] / values[name]:.2f}" if values[name] >= 0.1 else "–" for name in ratios]
            yield f"| {traffic} | {protocol} | " + " | ".join(cells) + " |"


def tables(figures, real):
    yield f"Per cent of connections that resume, with {COMMON:,} sessions in the process:\n"
    names = ("FIFO", "second chance", "LRU", "sesscache", "Belady")
    yield from table(figures["process"], COMMON, names, ("FIFO", "second chance"))
    size = next(iter(figures["store"]))[2]
    yield f"\nThe same in a store of 1 MiB, which holds {size:,} of them:\n"
    names = ("FIFO", "nginx", "before", "LRU", "sesscache", "Belady")
    yield from table(figures["store"], size, names, ("before", "nginx"))
    yield "\nWith real handshakes, 500 sessions in the process or a store of 1 MiB, and fewer connections:\n"
    yield "| place | traffic | protocol | cache | simulated | real handshakes |\n|---|---|---|---|---:|---:|"
    for place, traffic, protocol, way, expected, measured in real:
        yield f"| {place} | {traffic} | {protocol} | {way} | {expected:.1f} | {measured:.1f} |"


def main():
    folder = ROOT / os.environ.get("LIBDIR", "target/release")
    binary, library = folder / "hits", folder / "libsesscache.so"
    figures = simulate(binary)
    with tempfile.TemporaryDirectory() as work:
        real = list(replay(binary, library, os.environ.get("BEFORE"), pathlib.Path(work)))
    body = "\n".join(tables(figures, real))
    print(body)
    page = PAGE.read_text()
    pattern = re.escape(START) + ".*?" + re.escape(END)
    PAGE.write_text(re.sub(pattern, lambda _: f"{START}\n\n{body}\n\n{END}", page, flags=re.DOTALL))
    CHART.write_text("\n".join(chart(figures["process"])) + "\n")
    worst = max(abs(row[4] - row[5]) for row in real if not row[3].startswith("before"))
    if worst > 1.0:
        sys.exit(f"hits.py: simulation and handshakes differ by {worst:.1f} points")


if __name__ == "__main__":
    main()
