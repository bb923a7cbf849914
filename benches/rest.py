#!/usr/bin/env python3
"""What sessions take between connections: bytes a session, in one process and in nginx's workers.

    benches/rest.py [--sessions N] [--workers N] [NAME=LIBRARY...]

Rows are stock, this build (LIBDIR, target/release), and the libraries that are named, all in one run.

one process   rest.c: 20,480 full handshakes, what malloc has given out
nginx         RssAnon of four workers together, ssl_session_cache builtin: what 8,000 sessions, each
              offered 12 times, add to that of the first few connections

The store is a file, so that its pages are not among these. Prints a table for docs/PERFORMANCE.md.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness import processes
from harness.network import free_port, is_listening
from harness.run import environment, run
from harness.tls import make_certificate, make_key_file
from harness.verdicts import happens, wait_until

FEW = 20  # sessions that are made and offered before the first look
OFFERS = 12
CONFIGURATION = """\
daemon off;
worker_processes {workers};
pid {dir}/pid;
error_log {dir}/error.log error;
user root;
events {{ worker_connections 256; }}
http {{
    access_log off;
    ssl_certificate {work}/certificate.pem;
    ssl_certificate_key {work}/key.pem;
    ssl_protocols TLSv1.2;
    ssl_session_tickets off;
    ssl_session_timeout 1h;
    ssl_session_cache builtin:20480;
    server {{ listen 127.0.0.1:{port} ssl; return 204; }}
}}
"""


def main():
    given = arguments()
    here = Path(os.environ.get("LIBDIR", ROOT / "target" / "release")) / "libsesscache.so"
    libraries = {"stock": None, **given.libraries, "ours": here}
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="sesscache-rest.") as folder:
        work = Path(folder)
        build(work)
        make_certificate(work)
        make_key_file(work / "store.key")
        print("| build | one process, TLS 1.2 | one process, TLS 1.3 | nginx's workers |\n|---|---:|---:|---:|")
        for name, library in libraries.items():
            cells = [in_one_process(work, name, library, version, given.one)
                     for version in ("tls12", "tls13")]
            cells.append(in_nginx(work, name, library, given))
            print(f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} |", flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", type=int, default=20480, help="sessions of one process")
    parser.add_argument("--sessions", type=int, default=8000, help="sessions of nginx")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("libraries", nargs="*", type=lambda word: word.split("=", 1))
    given = parser.parse_args()
    given.libraries = dict(given.libraries)
    return given


def build(work):
    flags = ["-std=c11", "-D_GNU_SOURCE", "-DOPENSSL_SUPPRESS_DEPRECATED", "-Wall", "-Wextra", "-Werror", "-O2"]
    for name, sources in (("rest", ("rest.c", "handshake_ends.c", "bench.c")), ("load", ("load.c", "bench.c"))):
        subprocess.run([os.environ.get("CC", "cc"), *flags, *(ROOT / "benches" / source for source in sources),
                        "-o", work / name, "-lssl", "-lcrypto", "-lpthread"], check=True)


def settings(work, name, library):
    if library is None:
        return {}
    return {"LD_PRELOAD": str(library), "SESSCACHE_STORE": f"file:{work}/{name}.store?size=64MiB",
            "SESSCACHE_KEY_FILE": str(work / "store.key"), "SESSCACHE_TICKETS": "application",
            "SESSCACHE_LOG": str(work / f"{name}.log")}


def in_one_process(work, name, library, version, count):
    said = subprocess.run([work / "rest", version, str(count)], check=True, capture_output=True, text=True,
                          env=environment(**settings(work, name, library))).stdout
    return int(said.split()[0])


def in_nginx(work, name, library, given):
    port, folder = free_port(), work / f"nginx.{name}"
    folder.mkdir()
    (folder / "configuration").write_text(CONFIGURATION.format(workers=given.workers, dir=folder, work=work,
                                                               port=port))
    server = processes.start("nginx", "-e", folder / "error.log", "-p", folder, "-c", folder / "configuration",
                             env=settings(work, name, library), log=folder / "output.log")
    try:
        wait_until(60, is_listening, port)
        wait_until(10, lambda: len(processes.children(server.pid)) == given.workers)
        load(work, port, FEW)
        before = private(server)
        load(work, port, given.sessions)
        return (private(server) - before) // given.sessions
    finally:
        server.send(signal.SIGTERM)
        if not happens(10, server.dead):
            server.kill()


def load(work, port, sessions):
    """Makes so many sessions, and offers each so often on average."""
    run(work / "load", port, "save", work / "sessions", sessions, seconds=900)
    run(work / "load", "-n", sessions * OFFERS, port, "offer", work / "sessions", os.getpid(), seconds=900)


def private(server):
    kib = 0
    for pid in processes.children(server.pid):
        status = Path(f"/proc/{pid}/status").read_text()
        kib += int(status.split("RssAnon:")[1].split()[0])
    return kib * 1024


if __name__ == "__main__":
    main()
