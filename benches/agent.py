#!/usr/bin/env python3
"""The agents' cost: processor time of sender, receiver and Redis for a record, and its delay.

    benches/agent.py [-s SECONDS] [RATE...]       (15; 100 1000 10000 records a second)

LIBDIR is where sesscache and feed are (target/release). Two stores of 64 MiB on this machine, an agent for
each, and a Redis that keeps nothing on disk. Processor time is user and system time from
/proc/PID/stat. System calls are not counted. Prints a table for docs/SCALE.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness.network import free_port

TICK = os.sysconf("SC_CLK_TCK")


def start(stack, *command):
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def seconds_of(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(binaries, rate, seconds):
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        port = free_port()
        redis = start(stack, "redis-server", "--port", port, "--save", "", "--appendonly", "no",
                      "--bind", "127.0.0.1", "--dir", work)
        stores = [f"file:{work}/{name}?size=64MiB" for name in ("from", "to")]
        # Makes the files.
        subprocess.run([binaries / "feed", *stores, "1", "0"], check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        agents = [start(stack, binaries / "sesscache", "agent", "--name", "bench", "--store", store, "--redis",
                        f"redis://127.0.0.1:{port}/") for store in stores]
        time.sleep(1.5)
        before = [seconds_of(process) for process in (*agents, redis)]
        printed = subprocess.run([binaries / "feed", *stores, str(rate), str(seconds)], check=True,
                                 capture_output=True, text=True).stdout
        used = [seconds_of(process) - one for process, one in zip((*agents, redis), before)]
    came, half, most = printed.split()
    if int(came) != rate * seconds:
        sys.exit(f"agent.py: of {rate * seconds} records {came} came")
    return [one / int(came) * 1e6 for one in used], half, most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-s", type=int, default=15, metavar="SECONDS")
    parser.add_argument("rates", nargs="*", type=int, default=[100, 1000, 10000], metavar="RATE")
    arguments = parser.parse_args()
    binaries = Path(os.environ.get("LIBDIR", ROOT / "target/release")).resolve()
    print("| records a second | sender, µs a record | receiver | Redis | all | delay p50, ms | p99 |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for rate in arguments.rates:
        used, half, most = measure(binaries, rate, arguments.s)
        row = [*(f"{one:.0f}" for one in (*used, sum(used))), half, most]
        print(f"| {rate:,} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
