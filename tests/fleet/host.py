"""A host: a machine with nginx, a store, a key file, and an agent; and sessions that clients have
of it."""

import json
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

from harness import processes
from harness.agent import Agent
from harness.network import is_listening, through
from harness.run import run
from harness.tls import write_secret
from harness.verdicts import check, same, wait_until

from .network import FRONT, Machine

TRIES = 50  # connections that offer sessions, where nothing else is said
METRICS = 9100  # the port of each agent
BAD_LINES = re.compile(r"\[(error|crit|alert|emerg)\]|exited on signal")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Kind:
    """How sessions are carried."""

    protocol: str
    carried: str

    def __str__(self):
        return f"{self.protocol} {self.carried}"

    @property
    def in_tickets(self):
        return self.carried == "tickets"


BY_ID = (Kind("1.2", "ids"), Kind("1.3", "stateful"))  # the store and the agents carry these
KINDS = (*BY_ID, Kind("1.2", "tickets"), Kind("1.3", "tickets"))


@dataclass(frozen=True)
class Sessions:
    """A file of them."""

    kind: Kind
    file: Path

    def __str__(self):
        return self.file.name


@dataclass(eq=False)
class Host:
    """stock: its nginx runs without the library. environment: of one that runs with it."""

    scene: object
    machine: Machine
    stock: bool = False
    environment: dict = field(default_factory=dict)
    server: processes.Process | None = None
    agent: Agent | None = None

    @property
    def name(self):
        return self.machine.name

    @property
    def folder(self):
        return self.scene.work / self.name

    @property
    def in_memory(self):
        return self.scene.stores / self.name

    @property
    def store(self):
        return self.in_memory / "store"

    def make(self):
        """All but its server and its agent."""
        self.machine.add()
        for folder in (self.folder, self.in_memory):
            folder.mkdir(mode=0o711)
        self.set_keys(self.scene.prepared.files / "first_key")
        (self.folder / "nginx.conf").write_text(self._configuration())

    def set_keys(self, file):
        write_secret(self.in_memory / "key", file.read_text())

    # --- server ---------------------------------------------------------------------------------

    def _configuration(self):
        """One worker, a port for each way that sessions are carried: 8001 by id, 8002 in
        tickets."""
        folder, address = self.folder, self.machine.address(FRONT)
        files = self.scene.prepared.files
        paths = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in TEMPORARY)
        return f"""daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
user www-data;
events {{ worker_connections 256; }}
http {{
    access_log off;
    ssl_certificate {files}/certificate.pem;
    ssl_certificate_key {files}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache builtin;
    ssl_session_timeout 1h;
    server {{
        listen {address}:8001 ssl;
        ssl_session_tickets off;
        return 200 "ok\\n";
    }}
    server {{
        listen {address}:8002 ssl;
        ssl_session_tickets on;
        return 200 "ok\\n";
    }}
{paths}
}}
"""

    def _overlay(self):
        return {**self.environment, "LD_PRELOAD": str(self.scene.prepared.library),
                "SESSCACHE_LOG": str(self.folder / "sesscache.log"),
                "SESSCACHE_STORE": f"file:{self.store}?size=16MiB",
                "SESSCACHE_KEY_FILE": str(self.in_memory / "key")}

    def start_server(self):
        folder = self.folder
        self.server = processes.start(
            "nginx", "-e", folder / "error.log", "-p", folder, "-c", folder / "nginx.conf",
            log=folder / "output.log", through=through(self.name),
            env={} if self.stock else self._overlay())
        wait_until(10, is_listening, 8002, self.server.pid)
        wait_until(10, self._has_worker)

    def worker(self):
        return processes.children(self.server.pid)[0]

    def _has_worker(self):
        return same(1, len(processes.children(self.server.pid)))

    def reload_server(self):
        """The old worker is gone when this returns, with all it had in its own memory."""
        old = self.worker()
        self.server.send(signal.SIGHUP)
        wait_until(10, processes.dead, old)
        wait_until(10, self._has_worker)

    # --- agent ----------------------------------------------------------------------------------

    def start_agent(self):
        """Returns when it is ready."""
        scene = self.scene
        self.agent = Agent.start(
            scene.prepared.command, f"file:{self.store}", scene.url, self.folder / "agent.log",
            *scene.agent_options, metrics=METRICS, namespace=self.name)
        wait_until(10, self.agent.is_healthy)

    def kill_agent(self):
        self.agent.process.kill()

    # --- sessions -------------------------------------------------------------------------------

    def client(self, kind):
        return self.scene.prepared.client.of(protocol=kind.protocol, tickets=kind.in_tickets)

    def place(self, kind):
        return f"{self.machine.address(FRONT)}:{8002 if kind.in_tickets else 8001}"

    def save(self, kind, count=1, name=""):
        """Makes new sessions here. Sessions of the same kind and name are gone then."""
        file = self.scene.work / f"{name}{self.name}-{kind.protocol}-{kind.carried}.sessions"
        self.client(kind).save(self.place(kind), file, count)
        return Sessions(kind, file)

    def resumed(self, sessions, count=TRIES):
        """How many of so many connections resume here, which go round the sessions."""
        kind = sessions.kind
        return self.client(kind).offer(self.place(kind), sessions.file, count)

    def offer(self, sessions, count=TRIES):
        """As resumed; but "error", which it explains, if a connection fails."""
        try:
            return self.resumed(sessions, count)
        except AssertionError as error:
            print(f"     at {self.name}: {error}", flush=True)
            return "error"

    def resumes(self, sessions, count=TRIES):
        return same(count, self.resumed(sessions, count))

    def spoil(self, sessions):
        """Resumes each here, and earns a fatal alert, which removes it."""
        self.client(sessions.kind).spoil(self.place(sessions.kind), sessions.file)

    def resumes_none(self, sessions, count=TRIES):
        return same(0, self.resumed(sessions, count))

    # --- figures and health ---------------------------------------------------------------------

    def counted(self, counter):
        """Of its store."""
        return json.loads(run(self.scene.prepared.command, "stats", "--json", self.store))[counter]

    def check_server(self, forgiven):
        """forgiven: a pattern of lines in its log that are as they should be."""
        name = self.name
        check(f"host {name}: the server lives", self.server.alive)
        check(f"host {name}: nothing bad in the server's log", self._log_is_clean, forgiven)
        check(f"host {name}: the library complains of nothing", self._library_is_content)

    def _log_is_clean(self, forgiven):
        lines = (self.folder / "error.log").read_text(errors="replace").splitlines()
        return same([], [line for line in lines if BAD_LINES.search(line)
                         and not (forgiven and re.search(forgiven, line))][:5])

    def _library_is_content(self):
        log = self.folder / "sesscache.log"
        return same("", log.read_text() if log.exists() else "")

    def check_agent(self):
        name, agent = self.name, self.agent
        check(f"host {name}: the agent lives", agent.process.alive)
        check(f"host {name}: the agent did not panic", lambda: same(
            [], agent.lines("(?i)panicked")))
        check(f"host {name}: the ring overwrote nothing before the agent had sent it", lambda: same(
            0, agent.total("replication_lost_records_total")))
