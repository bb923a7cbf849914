#!/usr/bin/env python3
"""Twenty clients come back to nginx again and again, through a reload and a restart. What share of their
connections resumes: with nginx's own caches, and with sesscache. Prints a table, and draws a chart.

    benches/returning.py CHART.svg     with libsesscache from $LIBDIR (default target/release)
"""

import os
import signal
import socket
import ssl
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness import processes
from harness.network import free_port, is_listening
from harness.tls import make_certificate, make_key_file
from harness.verdicts import wait_until
from svg import INK, text

WORKERS, CLIENTS, VISITS = 4, 20, 10
PHASES = ("from the start", "after a reload", "after a restart")
# The title, nginx's ssl_session_cache, whether with sesscache; colour and dashes of its line.
WAYS = (
    ("stock, builtin", "builtin", False, "#e07b00", "2 4"),
    ("stock, shared:SSL:10m", "shared:SSL:10m", False, "#b05cc6", "8 5"),
    ("sesscache, builtin and a store", "builtin", True, "#2f81f7", ""),
)

class Nginx:
    """Debian's, unmodified."""

    def __init__(self, folder, cache, variables):
        self.folder, self.variables, self.port = folder, variables, free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        paths = " ".join(f"{name}_temp_path {folder}/{name};"
                         for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        # reuseport: the kernel chooses the worker by the client's port.
        (folder / "nginx.conf").write_text(f"""
            daemon off; worker_processes {WORKERS}; {user}
            pid {folder}/pid; error_log {folder}/error.log;
            events {{}}
            http {{
                access_log off; {paths}
                ssl_certificate {folder}/../certificate.pem; ssl_certificate_key {folder}/../key.pem;
                ssl_protocols TLSv1.2 TLSv1.3;
                server {{
                    listen 127.0.0.1:{self.port} ssl reuseport;
                    ssl_session_cache {cache}; ssl_session_tickets off;
                    return 200 ok;
                }}
            }}""")

    def start(self):
        self.process = processes.start("nginx", "-e", self.folder / "error.log", "-c", self.folder / "nginx.conf",
                                       log=self.folder / "output.log", env=self.variables)
        wait_until(10, is_listening, self.port)
        wait_until(10, self._has_workers)

    def workers(self):
        return set(processes.children(self.process.pid))

    def _has_workers(self):
        return len(self.workers()) == WORKERS

    def reload(self):
        old = self.workers()
        self.process.send(signal.SIGHUP)
        wait_until(10, processes.all_dead, old)
        wait_until(10, self._has_workers)

    def stop(self):
        self.process.end(seconds=10)

    def restart(self):
        self.stop()
        self.start()


class Client:
    """Offers the newest session that it has, once."""

    def __init__(self, context):
        self.context, self.session = context, None

    def visit(self, port):
        """Whether its session resumes."""
        with socket.create_connection(("127.0.0.1", port), 10) as plain, \
                self.context.wrap_socket(plain, session=self.session) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while connection.recv(4096):  # the tickets of TLS 1.3 come before the answer
                pass
            self.session = connection.session
            return connection.session_reused


def shares(port, clients):
    """Of each round the share that resumes. The first, in which nobody has a session, does not count."""
    for _ in range(VISITS):
        yield sum(client.visit(port) for client in clients) / len(clients)


def run(work, number, cache, overlaid):
    """The shares of all rounds."""
    folder = work / str(number)
    folder.mkdir(mode=0o700)
    variables = {}
    if overlaid:
        library = Path(ROOT, os.environ.get("LIBDIR", "target/release"), "libsesscache.so")
        make_key_file(folder / "key")
        variables = {"LD_PRELOAD": str(library), "SESSCACHE_KEY_FILE": str(folder / "key"),
                     "SESSCACHE_STORE": f"file:{folder}/store?size=4MiB"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    clients = [Client(context) for _ in range(CLIENTS)]
    nginx = Nginx(folder, cache, variables)
    nginx.start()
    try:
        for client in clients:
            client.visit(nginx.port)
        found = list(shares(nginx.port, clients))
        nginx.reload()
        found += shares(nginx.port, clients)
        nginx.restart()
        return found + list(shares(nginx.port, clients))
    finally:
        nginx.stop()


def table(figures):
    yield f"{'nginx: ' + str(WORKERS) + ' workers, ' + str(CLIENTS) + ' clients':<31}" + "".join(
        f"{phase:>16}" for phase in PHASES)
    for (title, *_), found in zip(WAYS, figures):
        parts = [found[part * VISITS:(part + 1) * VISITS] for part in range(len(PHASES))]
        cells = [f"{100 * sum(part) / VISITS:.0f} %" for part in parts]
        yield f"{title:<31}" + "".join(f"{cell:>16}" for cell in cells)


def chart(figures):
    left, top, width, height, rounds = 60, 70, 680, 220, VISITS * len(PHASES)

    def place(number, share):
        return f"{left + width * number / (rounds - 1):.1f},{top + height * (1 - share):.1f}"

    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {top + height + 60}"'
           f' font-family="sans-serif" fill="{INK}">')
    yield f"<title>Connections to nginx that resume, of {CLIENTS} clients that come back</title>"
    for number, (title, _, _, colour, dashes) in enumerate(WAYS):
        x = left + 235 * number
        yield f'<path d="M{x} 20h36" stroke="{colour}" stroke-width="3" stroke-dasharray="{dashes}"/>'
        yield text(x + 44, 24, title, "start", size=13)
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - share)
        yield f'<path d="M{left} {y:.1f}h{width}" stroke="{INK}" stroke-opacity="0.3"/>'
        yield text(left - 8, y + 4, f"{100 * share:.0f} %", "end", size=13)
    for part, event in enumerate(("reload", "restart"), 1):
        x = left + width * (part * VISITS - 0.5) / (rounds - 1)
        yield f'<path d="M{x:.1f} {top - 8}v{height + 8}" stroke="{INK}" stroke-dasharray="3 3"/>'
        yield text(x, top - 14, event, size=13)
    for number in range(0, rounds, 5):
        yield text(left + width * number / (rounds - 1), top + height + 20, number + 1, size=13)
    yield text(left + width / 2, top + height + 44, "visit of each client", size=13)
    for (_, _, _, colour, dashes), found in zip(WAYS, figures):
        points = " ".join(place(number, share) for number, share in enumerate(found))
        yield (f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="3"'
               f' stroke-dasharray="{dashes}"/>')
    yield "</svg>"


def main():
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        make_certificate(work)
        figures = [run(work, number, cache, overlaid)
                   for number, (_, cache, overlaid, *_) in enumerate(WAYS)]
    print("\n".join(table(figures)))
    Path(sys.argv[1]).write_text("\n".join(chart(figures)) + "\n")
    if sum(figures[-1]) != len(figures[-1]):
        sys.exit("returning: with sesscache all should have resumed")


if __name__ == "__main__":
    main()
