"""The servers of a run: two hosts on stock and two on ours, each an nginx with a port for each
mode.

Ours have a store and an agent each, one key file and one Redis. nginx's log tells of each
connection whether it was resumed: the client is not asked."""

import os
from dataclasses import dataclass, field

from harness import built, processes
from harness.agent import Agent
from harness.network import free_port, is_listening
from harness.packages import need
from harness.redis import Redis
from harness.run import run
from harness.verdicts import wait_until

from .balancer import Balancer

STOCK, OURS = WORLDS = ("stock", "ours")
HOSTS = ("one host", "two hosts")
_NO_TICKETS = "ssl_session_tickets off; ssl_session_cache shared:{zone}:1m;"
# By name: what a virtual host of nginx has beside its certificate.
MODES = {
    "1.2 ids": "ssl_protocols TLSv1.2; " + _NO_TICKETS,
    "1.2 tickets": "ssl_protocols TLSv1.2;",
    "1.3 stateful": "ssl_protocols TLSv1.3; " + _NO_TICKETS,
    "1.3 tickets": "ssl_protocols TLSv1.3;",
    "defaults": "ssl_protocols TLSv1.2 TLSv1.3;",
}
CONFIGURATION = """\
daemon off;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
{user}
events {{ worker_connections 256; }}
http {{
    log_format resumption "$request_uri $ssl_protocol $ssl_session_reused";
    access_log {dir}/access.log resumption;
    keepalive_timeout 0;
    ssl_certificate {files}/issued.pem;
    ssl_certificate_key {files}/issued_key.pem;
    client_body_temp_path {dir}/client_body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    default_type text/html;
{modes}}}
"""
MODE = """\
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        {settings}
        location / {{ return 200 '{page}'; }}
    }}
"""
# A browser that loads PATH?COUNT asks for PATH so often. Chromium opens a second connection beside
# the page's own. The first question goes there, so that full one is among those counted.
PAGE = ("<script>for (let n = +location.search.slice(1); n > 0; n--) "
        "{ let r = new XMLHttpRequest(); r.open(\"GET\", location.pathname, false); r.send(); }"
        "</script>ok\\n")


@dataclass(frozen=True)
class Prepared:
    """Made once, for all clients. files: certificates and the key file."""

    command: object
    library: object
    files: object


def prepare(folder):
    need("nginx", "nginx-light", "nginx")
    need("redis-server", "redis-server", "redis-server")
    files = folder / "files"
    files.mkdir(mode=0o711)
    make_certificates(files)
    command = built.copy_command(folder)
    run(command, "keygen", files / "tickets.key")
    return Prepared(command, built.copy_library(folder), files)


def make_certificates(files):
    """An authority, ca.pem, and a certificate of localhost from it. rustls takes no certificate of
    an authority for a server's."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    run("openssl", "req", "-x509", *new, "-subj", "/CN=authority", "-addext",
        "keyUsage=critical,keyCertSign", "-keyout", files / "ca_key.pem", "-out", files / "ca.pem")
    run("openssl", "req", *new, "-subj", "/CN=localhost", "-keyout", files / "issued_key.pem",
        "-out", files / "issued.csr")
    (files / "issued.ext").write_text("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
    run("openssl", "x509", "-req", "-in", files / "issued.csr", "-CA", files / "ca.pem", "-CAkey",
        files / "ca_key.pem", "-CAcreateserial", "-days", "2", "-extfile", files / "issued.ext",
        "-out", files / "issued.pem")


@dataclass(eq=False)
class Host:
    """An nginx. ports: by mode."""

    world: str
    dir: object
    ports: dict = field(default_factory=lambda: {mode: free_port() for mode in MODES})
    agent: Agent = None  # of ours

    def start(self, prepared, redis):
        self.dir.mkdir(mode=0o711)
        self._configure(prepared.files)
        server = ("nginx", "-e", self.dir / "error.log", "-p", self.dir,
                  "-c", self.dir / "nginx.conf")
        if self.world == OURS:
            store = f"file:{self.dir}/store?size=8MiB"
            server = (prepared.command, "run", "--library", prepared.library, "--store", store,
                      "--key-file", prepared.files / "tickets.key", "--", *server)
        processes.start(*server, log=self.dir / "output.log")
        for port in self.ports.values():
            wait_until(10, is_listening, port)
        if self.world == OURS:
            self.agent = Agent.start(prepared.command, store, redis.url, self.dir / "agent.log",
                                     metrics=free_port())
            self.agent.says_soon("connected to Redis")

    def _configure(self, files):
        modes = "".join(
            MODE.format(port=port, page=PAGE, settings=MODES[mode].format(zone=f"zone{port}"))
            for mode, port in self.ports.items())
        user = "user www-data;" if os.geteuid() == 0 else ""
        (self.dir / "nginx.conf").write_text(
            CONFIGURATION.format(dir=self.dir, files=files, user=user, modes=modes))

    def connections(self, path):
        """(protocol, resumed) of each that asked for the path."""
        lines = map(str.split, (self.dir / "access.log").read_text().splitlines())
        return [(line[1], line[2] == "r") for line in lines if line[0] == path]


class Scene:
    def __init__(self, prepared, work):
        self.files = prepared.files
        redis = Redis.start(work, free_port())
        self._hosts = {world: [Host(world, work / f"{world}-{name}") for name in "ab"]
                       for world in WORLDS}
        for hosts in self._hosts.values():
            for host in hosts:
                host.start(prepared, redis)

    def balancer(self, world, mode, hosts):
        """Of one host, or of both in turn. A connection waits until the agents of both have passed
        on what they have to, as a client is slower than they are on a machine that is less busy."""
        count = 1 + HOSTS.index(hosts)
        chosen = self._hosts[world][:count]
        wait = world == OURS and count == 2
        return Balancer([host.ports[mode] for host in chosen],
                        lambda: wait and wait_until(10, in_step, *chosen))

    def connections(self, world, path):
        return [each for host in self._hosts[world] for each in host.connections(path)]


def in_step(one, other):
    """Whether each has received all that the other has stored."""
    return _passed_on(one.agent, other.agent) and _passed_on(other.agent, one.agent)


def _passed_on(sender, receiver):
    return sender.figure("replication_unread_records") == 0 and \
        sender.figure("replication_sent_records_total") == \
        receiver.figure("replication_received_records_total")
