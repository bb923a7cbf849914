#!/usr/bin/env python3
"""Whether the memory of a server grows with its handshakes and contexts, beyond stock's growth.

    benches/slope.py [-j JOBS] [--handshakes N] [--contexts N] [WORD...]

WORD takes the combinations that have it: tls12 tls13 id ticket callbacks plain store alone. There are 16
of them, with 60,000 handshakes and 8,000 contexts each. LIBDIR is where libsesscache.so is
(target/release).

slope.c says what a combination does and prints its memory at points. The first two tenths of a phase
are the warm-up: the cache is full after 4,000 handshakes. A slope is the straight line through the points after it, in bytes a handshake or a
context: of what malloc has given out (heap) and of the resident set (RSS). NOISE is allowed beyond stock's,
for a page more or less and for sessions whose encodings differ.

Prints a table for docs/PERFORMANCE.md. Ends with 1 if a slope of ours is beyond stock's.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness.run import environment
from harness.tls import make_key_file

WORDS = (("tls12", "tls13"), ("id", "ticket"), ("plain", "callbacks"), ("alone", "store"))
WARM_UP = 2
# Bytes that ours may grow beyond stock, (heap, RSS). A leak of the smallest block, 32 bytes, at one
# handshake in a hundred, or one context in thirty, is more.
NOISE = {"handshakes": (0.3, 2), "contexts": (1, 16)}


def main():
    given = arguments()
    combinations = [words for words in itertools.product(*WORDS)
                    if all(word in words for word in given.words)]
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="sesscache-slope.") as folder:
        folder = Path(folder)
        build(folder)
        # Stock knows no store: one run of it stands beside two of ours.
        stock = list(dict.fromkeys(words[:3] for words in combinations))
        runs = [(words, "stock") for words in stock] + [(words, "ours") for words in combinations]
        with ThreadPoolExecutor(given.jobs) as pool:
            found = dict(zip(runs, pool.map(lambda run: slopes_of(folder, given, *run), runs)))
    print("| combination | heap a handshake | RSS a handshake | heap a context | RSS a context |  |\n"
          "|---|---:|---:|---:|---:|---|")
    good = [print_row(words, found[words[:3], "stock"], found[words, "ours"])
            for words in combinations]
    print(f"\n{sum(good)} of {len(good)} are no steeper than stock")
    return 0 if all(good) else 1


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("-j", dest="jobs", type=int, default=1)
    parser.add_argument("--handshakes", type=int, default=60000)
    parser.add_argument("--contexts", type=int, default=8000)
    parser.add_argument("words", nargs="*", metavar="WORD")
    given = parser.parse_args()
    if unknown := set(given.words) - set(sum(WORDS, ())):
        parser.error(f"no such word: {' '.join(unknown)}")
    return given


def build(folder):
    """The program, and a copy of the library, which a build meanwhile does not change."""
    sources = [ROOT / "benches" / name for name in ("slope.c", "handshake_ends.c", "bench.c")]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-DOPENSSL_SUPPRESS_DEPRECATED", "-Wall", "-Wextra", "-Werror",
             "-O2"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, *sources, "-o", folder / "slope",
                    "-lssl", "-lcrypto", "-lpthread"], check=True)
    library = Path(os.environ.get("LIBDIR", ROOT / "target" / "release")) / "libsesscache.so"
    (folder / library.name).write_bytes(library.read_bytes())


def slopes_of(folder, given, words, way):
    """Runs a combination: its (heap, RSS) slopes by phase."""
    # Else blocks that a thread keeps for its next use count as given out.
    added = {"OPENSSL_CONF": "/dev/null", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    if way == "ours":
        added["LD_PRELOAD"] = str(folder / "libsesscache.so")
    if "store" in words:
        name = folder / "-".join(words)
        make_key_file(f"{name}.key")
        added |= {"SESSCACHE_STORE": f"file:{name}?size=8MiB", "SESSCACHE_KEY_FILE": f"{name}.key"}
    command = [folder / "slope", *words[:3], str(given.handshakes), str(given.contexts)]
    done = subprocess.run(command, env=environment(**added), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{way} {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    first, *points = done.stdout.splitlines()
    if first != f"way {way}":
        sys.exit(f"{' '.join(words)} ran on another cache: {first}")
    print(f"{way} {' '.join(words)}: done", file=sys.stderr, flush=True)
    return {phase: slopes_in(phase, points) for phase in NOISE}


def slopes_in(phase, points):
    rows = [tuple(map(int, line.split()[1:])) for line in points if line.startswith(f"{phase} ")]
    counts, heap, resident = zip(*rows[WARM_UP:])
    return slope(counts, heap), slope(counts, resident)


def slope(counts, values):
    """Of the straight line with the least squares."""
    middle, mean = sum(counts) / len(counts), sum(values) / len(values)
    above = sum((count - middle) * (value - mean) for count, value in zip(counts, values))
    return above / sum((count - middle) ** 2 for count in counts)


def print_row(words, stock, ours):
    """True if no slope is steeper than stock's."""
    pairs = [(before, now, noise) for phase, noises in NOISE.items()
             for before, now, noise in zip(stock[phase], ours[phase], noises)]
    good = all(now - max(before, 0) <= noise for before, now, noise in pairs)
    # Adding 0 takes the sign from a zero.
    cells = " | ".join(f"{round(before, 2) + 0:.2f} / {round(now, 2) + 0:.2f}"
                       for before, now, _ in pairs)
    print(f"| {' '.join(words)} | {cells} | {'met' if good else '**missed**'} |")
    return good


if __name__ == "__main__":
    sys.exit(main())
