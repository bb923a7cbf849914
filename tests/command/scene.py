"""The scene of a part: the command, and servers on 127.0.0.1 with and without the library."""

import json
from dataclasses import dataclass
from pathlib import Path

from harness import built, processes, tls
from harness.network import free_port, is_listening
from harness.packages import need
from harness.run import result
from harness.verdicts import wait_until


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
    tls.make_key_file(files / "store.key")
    return Prepared(built.copy_command(folder), built.copy_library(folder), files)


@dataclass(frozen=True)
class Scene:
    prepared: Prepared
    work: Path

    @property
    def files(self):
        return self.prepared.files

    def library(self, store="store"):
        """The environment of a server with the library and a store."""
        return {
            "LD_PRELOAD": str(self.prepared.library), "SESSCACHE_LOG": "stderr",
            "SESSCACHE_STORE": f"file:{self.work / store}?size=2MiB",
            "SESSCACHE_KEY_FILE": str(self.files / "store.key")}

    def s_server(self, *options, address="127.0.0.1", port=None, env=None):
        """An `openssl s_server`, listening; its port."""
        port = port or free_port()
        process = processes.start(
            "openssl", "s_server", "-accept", f"{address}:{port}",
            "-cert", self.files / "certificate.pem", "-key", self.files / "key.pem",
            "-www", "-quiet", *options, log=self.work / f"s_server-{address}-{port}.log", env=env)
        wait_until(10, is_listening, port, process.pid, address)
        return port

    def asks(self, *words, through=()):
        """The command: (exit status, stdout, stderr)."""
        done = result(self.prepared.command, *words, through=through)
        return done.returncode, done.stdout, done.stderr

    def asks_json(self, *words, through=()):
        """The command with --json: (exit status, what it printed)."""
        status, printed, _ = self.asks(*words, "--json", through=through)
        return status, json.loads(printed)
