#!/usr/bin/env python3
"""Handshakes and starts on stock, with an earlier library and with this one, in one run: instructions and time.

    benches/beside.py [--rounds N] [--libssl FOLDER] [PART...]      (11 rounds; instructions times start codec)

BEFORE is a folder with an earlier libsesscache.so; without it there is no such column. LIBDIR is where this one
is (target/release). FOLDER has another libssl.so.3 for all of it. Prints tables for docs/PERFORMANCE.md, and the
load average before them.

Instructions are the server's side of a handshake, by callgrind: 50 handshakes, OpenSSL's own generator of random
numbers at work. Time is the server's side, the median of the rounds, in which all ways take turns; a handshake
in which the process lost its core does not count. What is more than stock is of the figures, for instructions,
and the median of the rounds' ratios, for time.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COUNT = 50
CONTEXTS = 100
SOURCES = {"handshake": ("handshake.c", "handshake_ends.c", "bench.c"),
           "codec": ("codec.c", "handshake_ends.c", "bench.c"), "start": ("start.c", "bench.c")}
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-DOPENSSL_SUPPRESS_DEPRECATED", "-O2", "-g")

# Words, stock's handshake, ours. Stock's external callbacks keep an array of DER, which seals nothing.
HANDSHAKES = (
    ("TLS 1.2, full", "tls12 ec full plain", "tls12 ec full plain"),
    ("TLS 1.3, full, two tickets", "tls13 ec full plain", "tls13 ec full plain"),
    ("TLS 1.2, own cache", "tls12 ec resumed plain", "tls12 ec resumed plain"),
    ("TLS 1.3, own cache", "tls13 ec resumed plain", "tls13 ec resumed plain"),
    ("TLS 1.2, fetched (stock: external)", "tls12 ec resumed external", "tls12 ec resumed store"),
    ("TLS 1.3, fetched (stock: external)", "tls13 ec resumed external", "tls13 ec resumed store"),
    ("TLS 1.2, fetched, client certificate (stock: external)", "tls12 ec resumed external_client_cert",
     "tls12 ec resumed store_client_cert"),
    ("TLS 1.2, fetched, client certificate (stock: own cache)", "tls12 ec resumed client_cert",
     "tls12 ec resumed store_client_cert"),
    ("TLS 1.3, fetched, client certificate (stock: external)", "tls13 ec resumed external_client_cert",
     "tls13 ec resumed store_client_cert"),
    ("TLS 1.3, fetched, client certificate (stock: own cache)", "tls13 ec resumed client_cert",
     "tls13 ec resumed store_client_cert"),
)


class Bench:
    def __init__(self, work, libssl, rounds):
        self.work, self.rounds = work, rounds
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("SESSCACHE_", "MALLOC_", "LD_"))}
        self.environment |= {"OPENSSL_CONF": "/dev/null", "LC_ALL": "C"}
        if libssl:
            self.environment["LD_LIBRARY_PATH"] = libssl
        self.libraries = {"stock": None}
        for way, folder in (("before", os.environ.get("BEFORE")),
                            ("now", os.environ.get("LIBDIR", HERE.parent / "target/release"))):
            if folder:
                copy = work / f"{way}.so"
                copy.write_bytes((Path(folder) / "libsesscache.so").read_bytes())
                self.libraries[way] = copy
        for program, sources in SOURCES.items():
            subprocess.run(["gcc", *FLAGS, *(HERE / source for source in sources), "-o", work / program, "-lssl",
                            "-lcrypto", "-lpthread"], check=True)

    def settings(self, way):
        if way == "stock":
            return {}
        return {"LD_PRELOAD": str(self.libraries[way]), "SESSCACHE_STORE": "shm:?size=1MiB",
                "SESSCACHE_LOG": "stderr"}

    def run(self, way, *words, settings=None):
        settings = self.settings(way) if settings is None else settings
        done = subprocess.run([str(word) for word in words], env=self.environment | settings, check=True,
                              capture_output=True, text=True)
        if done.stderr:
            sys.exit(f"beside.py: {way}: {done.stderr}")
        return done.stdout

    def instructions(self, way, function, *words, settings=None):
        """In a function of the program, or with None in all of it."""
        out = self.work / "callgrind"
        collect = [f"--toggle-collect={function}"] if function else []
        self.run(way, "valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", *collect, *words,
                 settings=settings)
        totals = next(line for line in out.read_text().splitlines() if line.startswith("totals:"))
        return int(totals.split()[1])

    def handshake_instructions(self, way, words):
        return self.instructions(way, "measured_server", self.work / "handshake", "--once", COUNT, "-n", 1000,
                                 *words.split()) / COUNT

    def handshake_time(self, way, words):
        """Microseconds."""
        # Of full handshakes there are few, of which each puts a session. In a short run these are the first to touch
        # the store's pages, which the kernel has to make.
        seconds = 1 if "full" in words.split() else 0.2
        printed = self.run(way, self.work / "handshake", "-n", 1000, "-s", seconds, *words.split())
        side = printed.splitlines()[0].split("\t")
        assert side[0] == ("stock" if way == "stock" else "ours") and side[1] == "handshake_server", printed
        return float(side[3])

    def rounds_of(self, measure, words_of):
        """Of each way the figures of the rounds, in which the ways take turns; the first round is not kept."""
        rounds = [{way: measure(way, words_of(way)) for way in self.libraries}
                  for _ in range(self.rounds + 1)][1:]
        return {way: [one[way] for one in rounds] for way in self.libraries}

    def print_row(self, name, figures, text):
        """`figures` are one of each way, or those of the rounds."""
        columns, stock = [], figures["stock"]
        for way, figure in figures.items():
            several = isinstance(figure, list)
            columns.append(text(statistics.median(figure) if several else figure))
            if way != "stock":
                ratio = statistics.median(a / b for a, b in zip(figure, stock)) if several else figure / stock
                columns.append(f"{(ratio - 1) * 100:+.1f} %")
        print(f"| {name} | {' | '.join(columns)} |", flush=True)

    def print_heads(self, what):
        heads = [head for way in self.libraries for head in ((way,) if way == "stock" else (way, "more"))]
        print(f"\n| {what} | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")


def each_handshake(bench, what, figures_of, text):
    bench.print_heads(what)
    for name, stock, ours in HANDSHAKES:
        bench.print_row(name, figures_of(lambda way, s=stock, o=ours: s if way == "stock" else o), text)


def instructions(bench):
    each_handshake(bench, "instructions", lambda words: {
        way: bench.handshake_instructions(way, words(way)) for way in bench.libraries}, lambda n: f"{n:,.0f}")


def times(bench):
    each_handshake(bench, "time", lambda words: bench.rounds_of(bench.handshake_time, words),
                   lambda microseconds: f"{microseconds:.1f} µs")


def start(bench):
    preloads = {way: {} if way == "stock" else {"LD_PRELOAD": str(library)}
                for way, library in bench.libraries.items()}
    trace = bench.work / "trace"

    def system_calls(way):
        options = [word for name, value in preloads[way].items() for word in ("-E", f"{name}={value}")]
        bench.run(way, "strace", "-o", trace, *options, "/bin/true", settings={})
        return sum(not line.startswith("+++") for line in trace.read_text().splitlines())

    def contexts(way, words):
        return float(bench.run(way, bench.work / "start", words))

    bench.print_heads("start")
    bench.print_row("true: instructions", {way: bench.instructions(way, None, "/bin/true", settings=preload)
                                           for way, preload in preloads.items()}, lambda n: f"{n:,}")
    bench.print_row("true: system calls", {way: system_calls(way) for way in bench.libraries}, str)
    bench.print_row("SSL_CTX_new: instructions", {
        way: bench.instructions(way, "measured_contexts", bench.work / "start", CONTEXTS) / CONTEXTS
        for way in bench.libraries}, lambda n: f"{n:,.0f}")
    bench.print_row("SSL_CTX_new: time", bench.rounds_of(contexts, lambda _: 2000), lambda n: f"{n:.1f} µs")


def codec(bench):
    print("\n| OpenSSL's own | plain | | client certificate | |\n|---|---:|---:|---:|---:|")
    variants = "plain", "client_cert"
    times = {}
    for variant in variants:
        for _ in range(bench.rounds):
            for line in bench.run("stock", bench.work / "codec", "tls12", variant).splitlines():
                fields = line.split("\t")
                times.setdefault((fields[1], variant), []).append(float(fields[3]) / 1000)
    for name, words in (("encode", "codec_i2d"), ("decode", "codec_d2i")):
        cells = []
        for variant in variants:
            counted = bench.instructions("stock", name, bench.work / "codec", "-o", COUNT, "tls12", variant) / COUNT
            cells += [f"{counted:,.0f}", f"{statistics.median(times[words, variant]):.2f} µs"]
        print(f"| {name} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, metavar="N")
    parser.add_argument("--libssl", metavar="FOLDER")
    parser.add_argument("parts", nargs="*", metavar="PART")
    arguments = parser.parse_args()
    parts = {"instructions": instructions, "times": times, "start": start, "codec": codec}
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(Path(work), arguments.libssl, arguments.rounds)
        # With --libssl it says two versions, its own and that of the library.
        version = re.findall(r"OpenSSL (\d\S*)", bench.run("stock", "openssl", "version"))[-1]
        print(f"OpenSSL {version}, {os.cpu_count()} processors, load average {os.getloadavg()[0]:.2f}")
        for part in arguments.parts or parts:
            parts[part](bench)


if __name__ == "__main__":
    main()
