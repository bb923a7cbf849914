"""The scene of a part: a Redis, and hosts, each a server with a store and an agent of its own."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from harness import built, processes, tls
from harness.agent import Agent
from harness.network import free_port, is_listening
from harness.packages import need
from harness.redis import Redis
from harness.run import run
from harness.tls import Client
from harness.verdicts import check, same, wait_until

STREAMS = range(4)  # as many as an agent uses by default


@dataclass(frozen=True)
class Prepared:
    """Made once, for all parts. files: certificates and the key of the stores."""

    command: Path
    library: Path
    client: Client
    files: Path


def prepare(folder):
    need("redis-server", "redis-server", "redis-server")
    need("redis-cli", "redis-tools")
    need("openssl", "openssl")
    files = folder / "files"
    files.mkdir()
    tls.make_certificate(files)
    tls.make_authority(files, "127.0.0.1")
    command = built.copy_command(folder)
    run(command, "keygen", files / "key")
    client = tls.build_client(folder).of(protocol="1.2")
    return Prepared(command, built.copy_library(folder), client, files)


@dataclass(eq=False)
class Scene:
    """url and options: how the agents that are started from now on reach Redis."""

    prepared: Prepared
    work: Path
    redis: Redis | None = None
    url: str = ""
    options: tuple = ()
    hosts: dict = field(default_factory=dict)
    redis_port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)

    @property
    def command(self):
        return self.prepared.command

    @property
    def files(self):
        return self.prepared.files

    def start_redis(self):
        """With TCP, TLS and a unix socket; empty."""
        files = self.files
        self.redis = Redis.start(
            self.work, self.redis_port, "--unixsocket", self.work / "redis.sock",
            "--tls-port", self.tls_port, "--tls-cert-file", files / "issued.pem",
            "--tls-key-file", files / "issued_key.pem", "--tls-ca-cert-file", files / "ca.pem",
            "--tls-auth-clients", "no")
        self.url = self.redis.url

    def host(self, name, **environment):
        """A host with a server and a new store."""
        host = self.hosts[name] = Host(self, name, environment)
        host.start_server()
        return host

    def two_hosts(self, *options):
        """Redis, unless it runs, and hosts a and b, whose agents are connected."""
        if self.redis is None:
            self.start_redis()
        pair = self.host("a"), self.host("b")
        for host in pair:
            host.start_agent(*options)
        for host in pair:
            host.agent.says_soon("connected to Redis")
        return pair

    def end_agents(self):
        """A check for each that runs."""
        for host in self.hosts.values():
            if host.agent and host.agent.process.alive():
                check(f"agent {host.name} ends", host.agent.ends)

    def stream_lengths(self):
        return sum(self.redis("XLEN", stream(number)) for number in STREAMS)


def stream(number, name="web"):
    """The key of a stream in Redis; its name is that of the store's file."""
    return f"sesscache:{{{name}:{number}}}:log"


@dataclass(eq=False)
class Host:
    scene: Scene
    name: str
    environment: dict  # of the server, beside what it needs
    server: processes.Process | None = None
    agent: Agent | None = None
    agents: int = 0  # that were started
    certificate: tuple = ("certificate", "key")  # and its key
    port: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)

    @property
    def folder(self):
        return self.scene.work / self.name

    @property
    def store(self):
        return self.folder / "web"

    def server_environment(self):
        return {
            "SESSCACHE_LOG": "stderr", "SESSCACHE_KEY_FILE": str(self.scene.files / "key"),
            "SESSCACHE_STORE": f"file:{self.store}?size=4MiB",
            "LD_PRELOAD": str(self.scene.prepared.library), **self.environment}

    def start_server(self, through=()):
        """`through`: a command that runs it."""
        self.folder.mkdir(exist_ok=True)
        files = self.scene.files
        self.server = processes.start(
            *through, "openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert",
            files / f"{self.certificate[0]}.pem", "-key", files / f"{self.certificate[1]}.pem", "-no_ticket", "-tls1_2", "-www",
            "-quiet", log=self.scene.work / f"server-{self.name}.log",
            env=self.server_environment())
        wait_until(10, is_listening, self.port)

    def end_server(self):
        """And its store is gone."""
        self.server.kill()
        shutil.rmtree(self.folder)

    def start_agent(self, *options, tells=True, env=None):
        """Anew if there is one. tells: it serves metrics."""
        if self.agent and self.agent.process.alive():
            self.agent.process.end()
        self.agents += 1
        scene = self.scene
        log = scene.work / f"agent-{self.name}-{self.agents}.log"
        self.agent = Agent.start(
            scene.command, self.store, scene.url, log, *scene.options,
            *options, metrics=self.metrics if tells else None, env=env)

    # --- sessions -------------------------------------------------------------------------------

    def make(self, sessions, count):
        """Connections that keep their sessions under this name."""
        return self.scene.prepared.client.save(self.port, self._file(sessions), count)

    def resumed(self, sessions, count):
        """How many of so many connections resume here that offer these, each another."""
        return self.scene.prepared.client.offer(self.port, self._file(sessions), count)

    def resumes(self, sessions, count):
        return same(count, self.resumed(sessions, count))

    def spoil(self, sessions):
        """Resumes them here, and earns a fatal alert, which removes them."""
        self.scene.prepared.client.spoil(self.port, self._file(sessions))

    def _file(self, sessions):
        return self.scene.work / f"{sessions}.sessions"

    # --- figures --------------------------------------------------------------------------------

    def has_received(self, least):
        return self.agent.shows_least("replication_received_records_total", least)

    def has_sent(self, least):
        return self.agent.shows_least("replication_sent_records_total", least)

    def received(self):
        return self.agent.figure("replication_received_records_total")

    def sent(self):
        return self.agent.figure("replication_sent_records_total")
