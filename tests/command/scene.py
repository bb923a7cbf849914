"""The scene of a part: the command, and servers on 127.0.0.1 with and without the library."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from harness import built, processes, tls
from harness.network import free_port, is_listening
from harness.packages import need
from harness.run import result, run
from harness.verdicts import wait_until


_NGINX = """\
daemon off; worker_processes 2; pid {work}/{port}.pid; error_log {work}/{port}.log notice;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    ssl_certificate {files}/certificate.pem; ssl_certificate_key {files}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off; ssl_session_cache {cache};
    client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f;
    uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
    server {{ listen 127.0.0.1:{port} ssl; server_name first.test; return 200; }}
}}
"""


@dataclass(frozen=True)
class Prepared:
    """Made once, for all parts. files: a certificate and the key of the stores."""

    command: Path
    library: Path
    files: Path


def prepare(folder):
    need("openssl", "openssl")
    files = folder / "files"
    files.mkdir()
    tls.make_certificate(files)
    command = built.copy_command(folder)
    run(command, "keygen", files / "store.key")
    return Prepared(command, built.copy_library(folder), files)


@dataclass(frozen=True)
class Scene:
    prepared: Prepared
    work: Path
    servers: dict = field(default_factory=dict)  # the process of each port

    @property
    def files(self):
        return self.prepared.files

    def library(self, store="store"):
        """The environment of a server with the library and a store."""
        return {
            "LD_PRELOAD": str(self.prepared.library), "SESSCACHE_LOG": "stderr",
            "SESSCACHE_STORE": f"file:{self.work / store}?size=2MiB",
            "SESSCACHE_KEY_FILE": str(self.files / "store.key")}

    def s_server(self, *options, address="127.0.0.1", port=None, env=None, through=()):
        """An `openssl s_server`, listening; its port."""
        port = port or free_port()
        process = processes.start(
            "openssl", "s_server", "-accept", f"{address}:{port}",
            "-cert", self.files / "certificate.pem", "-key", self.files / "key.pem",
            "-www", "-quiet", *options, log=self.work / f"s_server-{address}-{port}.log",
            env=env, through=through)
        wait_until(10, is_listening, port, process.pid, address)
        self.servers[port] = process
        return port

    def nginx(self, cache="builtin", env=None):
        """An nginx with two workers, listening; its port."""
        port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        file = self.work / f"{port}.conf"
        file.write_text(_NGINX.format(work=self.work, files=self.files, port=port, user=user,
                                      cache=cache))
        process = processes.start("nginx", "-c", file, "-e", self.work / "start.log",
                                  log=self.work / f"nginx-{port}.log", env=env)
        wait_until(10, is_listening, port, process.pid)
        self.servers[port] = process
        return port

    def pid(self, port):
        """Of the server at the port, as a word."""
        return str(self.servers[port].pid)

    def asks(self, *words, through=()):
        """The command: (exit status, stdout, stderr)."""
        done = result(self.prepared.command, *words, through=through)
        return done.returncode, done.stdout, done.stderr

    def asks_json(self, *words, through=()):
        """The command with --json: (exit status, what it printed)."""
        status, printed, _ = self.asks(*words, "--json", through=through)
        return status, json.loads(printed)
