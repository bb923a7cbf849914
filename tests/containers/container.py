"""A pod of containers without a container runtime: nginx by packaging/docker/start.sh, and an agent beside
it. Each is the first process of a PID namespace of its own, in a root that cannot be written (inside.sh)."""

import os
from pathlib import Path

from harness import processes
from harness.built import ROOT
from harness.network import free_port, is_listening
from harness.processes import children
from harness.verdicts import same, wait_until

INSIDE = Path(__file__).parent / "inside.sh"
START = ROOT / "packaging" / "docker" / "start.sh"
USER = 10001
STORE = "/mnt/sessions/store/nginx"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Secret:
    """A key in a folder as the kubelet mounts it: a file by two links, changed by one rename."""

    def __init__(self, folder, text):
        self.folder, self._number = folder, 0
        folder.mkdir(mode=0o755)
        self.put(text)
        (folder / "key").symlink_to("..data/key")

    def text(self):
        return (self.folder / "key").read_text()

    def put(self, text):
        self._number += 1
        place = self.folder / f"..{self._number}"
        place.mkdir(mode=0o755)
        key = place / "key"
        key.write_text(text)
        os.chown(key, 0, USER)
        key.chmod(0o440)
        new = self.folder / "..data_tmp"
        new.symlink_to(place.name)
        new.rename(self.folder / "..data")


class Pod:
    """sessions_mode: of the volume that its containers share, as an emptyDir has it."""

    def __init__(self, prepared, work, name, secret, sessions_mode=0o777):
        self.prepared, self.secret, self.name = prepared, secret, name
        self.folder = work / name
        self.folder.mkdir(mode=0o755)
        self.sessions, self.scratch = self.folder / "sessions", self.folder / "scratch"
        for folder, mode in ((self.sessions, sessions_mode), (self.scratch, 0o777)):
            folder.mkdir()
            folder.chmod(mode)
        self.port = free_port()
        (self.folder / "nginx.conf").write_text(self._configuration())
        self.nginx = self.agent = None

    def _configuration(self):
        files = self.prepared.files
        paths = "\n".join(f"    {name}_temp_path /mnt/scratch/{name};" for name in TEMPORARY)
        return f"""
worker_processes 2;
pid /mnt/scratch/nginx.pid;
error_log stderr notice;
events {{ worker_connections 128; }}
http {{
    access_log off;
    ssl_certificate {files}/certificate.pem;
    ssl_certificate_key /mnt/tls/key.pem;
    ssl_session_cache builtin;
    ssl_session_tickets off;
    server {{ listen 127.0.0.1:{self.port} ssl; return 200 "ok\\n"; }}
{paths}
}}
"""

    def _contained(self, *words, log, volumes, **variables):
        """A container's process as we see it: what inside.sh started is below it."""
        command = self.prepared.command
        env = {"PATH": f"{command.parent}:{os.environ['PATH']}:/usr/sbin", **variables}
        bound = [word for volume in volumes for word in ("--volume", *volume)]
        return processes.start(INSIDE, USER, USER, *bound, *words, log=self.folder / log, env=env)

    def start_nginx(self, store=f"file:{STORE}?size=8MiB"):
        volumes = ((self.sessions, "/mnt/sessions"), (self.scratch, "/mnt/scratch"),
                   (self.secret.folder, "/mnt/keys:ro"), (self.prepared.tls, "/mnt/tls:ro"))
        self.nginx = self._contained(
            START, "nginx", "-e", "stderr", "-c", self.folder / "nginx.conf", "-g", "daemon off;",
            log="nginx.log", volumes=volumes, KEY_SECONDS="0.2", SESSCACHE_KEY_FILE="/mnt/keys/key",
            **({"SESSCACHE_STORE": store} if store else {}))
        wait_until(30, self._listens)

    def _listens(self):
        return is_listening(self.port, self.main()) and len(self.workers()) == 2

    def main(self):
        """The pid of nginx's main process outside."""
        below = children(self.nginx.pid)
        assert below, self.log()
        return below[0]

    def workers(self):
        return {pid for pid in children(self.main())
                if Path(f"/proc/{pid}/comm").read_text().strip() == "nginx"}

    def start_agent(self, redis):
        self.agent = self._contained("sesscache", "agent", "--store", STORE, "--redis", redis,
                                     log="agent.log", volumes=((self.sessions, "/mnt/sessions"),))

    def log(self, name="nginx"):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def reloads_to(self, old):
        """Whether other workers than the old ones serve."""
        now = self.workers()
        return same(True, len(now) == 2 and not now & old)
