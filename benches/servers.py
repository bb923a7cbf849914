#!/usr/bin/env python3
"""Resumed TLS 1.2 handshakes of real servers, unmodified: with the host store and with the shared
cache they bring themselves, on stock. All servers of a group are up at once, and take the load in
turn (A B C A B C ...).

    benches/servers.py nginx|nginx_crowd|apache ROUNDS SECONDS
    benches/servers.py nginx_instructions

run.sh calls it, with library, client (the built load.c), store (the built store/) and work in the
environment. Prints raw lines as report.py reads them. Ends with 77 if the server is not there.

A figure is connections a second, or the processor time that the server takes for one, kernel
included. With nginx_instructions: the instructions of a whole connection in a single process of
nginx under callgrind, without the kernel's. They are the same each time.

nginx, two workers:
  shared    stock, ssl_session_cache shared
  builtin   the store, ssl_session_cache builtin: a worker asks the store the first time that it
            meets a session and has it from then on
  fetched   the store, ssl_session_cache builtin:1: nearly every session comes from the store
nginx_crowd is the same with 16 workers, and 64 connections at a time.
Apache, event, two processes:
  shared    stock, SSLSessionCache shmcb
  beside    the store and shmcb: Apache has its sessions from shmcb, which is asked first
  fetched   the same, started again after the sessions were made: shmcb is then empty, and every
            session comes from the store. (With no SSLSessionCache Apache asks for no resumption.)
"""

import contextlib
import os
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness import processes
from harness.network import free_port, is_listening
from harness.packages import need, need_root
from harness.run import run
from harness.tls import make_certificate, make_key_file
from harness.verdicts import NOT_RUN, Skipped, happens, wait_until

SESSIONS = 1000  # that are made, and then offered in random order
FEW, MANY = 50, 250  # connections whose instructions are counted; the difference is theirs alone
LIBRARY, CLIENT, STORE, WORK = (Path(os.environ[name])
                                for name in ("library", "client", "store", "work"))

NGINX = """\
daemon off;
{processes};
pid {dir}/pid;
error_log {dir}/error.log error;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    ssl_certificate {work}/certificate.pem;
    ssl_certificate_key {work}/key.pem;
    ssl_protocols TLSv1.2;
    ssl_session_tickets off;
    ssl_session_timeout 1h;
    ssl_session_cache {cache};
    client_body_temp_path {dir}/client_body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{ listen 127.0.0.1:{port} ssl; return 204; }}
}}
"""
APACHE = """\
ServerRoot {dir}
ServerName first.test
DefaultRuntimeDir {dir}
PidFile {dir}/pid
ErrorLog {dir}/error.log
LogLevel error
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
User www-data
Group www-data
DocumentRoot {dir}/empty
StartServers 2
ServerLimit 2
ThreadsPerChild 16
MaxRequestWorkers 32
MinSpareThreads 17
MaxSpareThreads 32
MaxConnectionsPerChild 0
SSLSessionCache shmcb:{dir}/cache(4096000)
SSLSessionCacheTimeout 3600
SSLSessionTickets off
SSLProtocol -all +TLSv1.2
SSLCertificateFile {work}/certificate.pem
SSLCertificateKeyFile {work}/key.pem
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
    SSLEngine on
</VirtualHost>
"""


class Server:
    """A server in one setup. Derived classes: `server`, `setups` (of ours), configure, words."""

    workers = 2
    launch = ()  # a command that starts the server
    load = ()  # options of the client

    def __init__(self, setup):
        self.setup, self.port = setup, free_port()
        self.dir = WORK / setup
        self.dir.mkdir(mode=0o711)
        self.sessions = self.dir / "sessions"
        self.process = None
        self.configure()

    def start(self):
        env = {} if self.setup == "shared" else {
            "LD_PRELOAD": str(LIBRARY), "SESSCACHE_LOG": str(self.dir / "sesscache.log"),
            "SESSCACHE_STORE": f"file:{self.dir}/store?size=64MiB",
            "SESSCACHE_KEY_FILE": str(WORK / "store.key"),
            # Else a worker keeps few of those that it has fetched.
            "SESSCACHE_LIVE_SESSIONS": "all" if self.setup == "builtin" else ""}
        self.process = processes.start(*self.launch, *self.words(), env=env,
                                       log=self.dir / "output.log")
        wait_until(60, is_listening, self.port)
        wait_until(10, self._workers_are_there)

    def _workers_are_there(self):
        return len(processes.children(self.process.pid)) == self.workers

    def end(self):
        """Asks again and again: a single process of nginx misses a signal that comes just before
        it waits."""
        for _ in range(100):
            self.process.send(signal.SIGTERM)
            if happens(0.1, self.process.dead):
                break
        self.process.kill()

    def set_up(self):
        self.start()
        self.ask("save", self.sessions, SESSIONS)

    def ask(self, *words, options=()):
        return run(CLIENT, *options, self.port, *words, seconds=900)

    def offer(self, options, pids):
        """(connections a second, their number, microseconds of processor time for each)"""
        said = self.ask("offer", self.sessions, *pids, options=options)
        rate, resumed, connections, used = said.split()
        assert resumed == connections, f"{resumed} of {connections} resumed"
        return rate, int(connections), used

    def hits(self):
        """Of the store."""
        return int(run(STORE, "counters", self.dir / "store").split()[0])

    def comes_from_where_it_says(self, hits, connections):
        """Whether the sessions did."""
        return {"fetched": hits * 100 >= connections * 95,
                "builtin": hits <= (self.workers + 1) * SESSIONS,
                "beside": hits == 0}[self.setup]

    def record(self, number, way, setup, name, value, unit, connections):
        print(number, way, f"{self.server}_{name}", setup, value, unit, 0, 0, connections,
              sep="\t", flush=True)


class Nginx(Server):
    server = "nginx"
    setups = ("builtin", "fetched")
    processes = "worker_processes 2"
    user = "user www-data;" if os.geteuid() == 0 else ""

    def configure(self):
        cache = {"shared": "shared:all:10m", "builtin": "builtin", "fetched": "builtin:1"}
        (self.dir / "configuration").write_text(NGINX.format(
            processes=self.processes, dir=self.dir, user=self.user, work=WORK, port=self.port,
            cache=cache[self.setup]))

    def words(self):
        return ("nginx", "-e", self.dir / "error.log", "-p", self.dir,
                "-c", self.dir / "configuration")


class CrowdNginx(Nginx):
    server, processes, workers, load = "nginx_crowd", "worker_processes 16", 16, ("-c", 64)


class SingleNginx(Nginx):
    processes, user, workers = "master_process off", "", 0
    callgrind = WORK / "callgrind"
    launch = ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={callgrind}")

    def instructions(self, count):
        """Of a run in which so many connections are resumed."""
        (self.dir / "store").unlink(missing_ok=True)
        self.start()
        self.ask("save", self.sessions, 20)
        _, resumed, _ = self.offer(("-c", 1, "-n", count), [self.process.pid])
        assert resumed == count, f"{resumed} of {count} resumed"
        self.end()
        return int(re.search(r"^totals: (\d+)", self.callgrind.read_text(), re.MULTILINE)[1])


class Apache(Server):
    server = "apache"
    setups = ("beside", "fetched")

    def configure(self):
        (self.dir / "empty").mkdir(mode=0o755)
        (self.dir / "configuration").write_text(APACHE.format(
            dir=self.dir, work=WORK, port=self.port, modules="/usr/lib/apache2/modules"))

    def words(self):
        return "apache2", "-d", self.dir, "-f", self.dir / "configuration", "-DFOREGROUND"

    def set_up(self):
        super().set_up()
        if self.setup == "fetched":
            self.end()
            self.start()


def measure_load(kind, rounds, seconds):
    servers = [kind(setup) for setup in ("shared", *kind.setups)]
    for server in servers:
        server.set_up()
    for number in range(rounds + 1):  # the first to warm up
        for server in servers:
            with contextlib.redirect_stdout(sys.stdout if number else None):
                load(server, number, seconds)
    for server in servers:
        log = server.dir / "sesscache.log"
        said = log.read_text() if log.exists() else ""
        assert not said, f"{server.setup}: {said}"


def load(server, number, seconds):
    is_ours = server.setup != "shared"
    before = server.hits() if is_ours else 0
    rate, connections, used = server.offer(("-s", seconds, *server.load),
                                           processes.children(server.process.pid))
    # Stock's stands beside each of ours.
    for setup in [server.setup] if is_ours else server.setups:
        way = "ours" if is_ours else "stock"
        server.record(number, way, setup, "rate", rate, "/s", connections)
        server.record(number, way, setup, "processor", used, "us", connections)
    if is_ours:
        hits = server.hits() - before
        assert server.comes_from_where_it_says(hits, connections), \
            f"{server.setup}: {hits} of {connections} came from the store"


def measure_instructions():
    each = {}
    for setup in ("shared", *SingleNginx.setups):
        server = SingleNginx(setup)
        more = -server.instructions(FEW) + server.instructions(MANY)
        each[setup] = more // (MANY - FEW)
    for setup in SingleNginx.setups:
        for way, counted in (("stock", each["shared"]), ("ours", each[setup])):
            server.record(1, way, setup, "instructions", counted, "instructions", MANY - FEW)


def need_server(name):
    with contextlib.redirect_stdout(sys.stderr):
        if name == "apache":
            need("apache2", "apache2", "apache2")
            need_root("start it as Debian does, with users")
        else:
            need("nginx", "nginx", "nginx")


def main(name, rounds=0, seconds=0):
    try:
        need_server(name)
        make_certificate(WORK)
        make_key_file(WORK / "store.key")
        if name == "nginx_instructions":
            measure_instructions()
        else:
            measure_load({"nginx": Nginx, "nginx_crowd": CrowdNginx, "apache": Apache}[name], int(rounds), seconds)
    except Skipped as reason:
        print(f"SKIP {name}: {reason}", file=sys.stderr)
        return NOT_RUN
    except AssertionError as error:
        print(f"servers.py: {name}: {error}, see {WORK}", file=sys.stderr)
        return 1
    finally:
        processes.kill_everything()
    return 0


sys.exit(main(*sys.argv[1:]))
