"""A pod of containers without a container runtime: nginx by packaging/docker/start.sh, and an agent beside
it. Each is the first process of a PID namespace of its own, in a root that cannot be written (inside.sh)."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness import processes
from harness.built import ROOT
from harness.network import free_port, is_listening
from harness.processes import children
from harness.verdicts import same, wait_until

INSIDE = Path(__file__).parent / "inside.sh"
START = ROOT / "packaging" / "docker" / "start.sh"
USER, AGENT = 10001, 10002
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


@dataclass(frozen=True)
class Volume:
    """An emptyDir that the containers of a pod share.

    group: the pod's fsGroup, if it has one. Each container then has a user of its own in it, and they
    share the store by this group."""

    mode: int = 0o777
    group: int | None = None

    def make(self, folder):
        folder.mkdir()
        if self.group is not None:
            os.chown(folder, 0, self.group)
        folder.chmod(self.mode)

    def groups(self, user):
        return f"{user},{self.group}" if self.group is not None else str(user)

    @property
    def store(self):
        return f"file:{STORE}?size=8MiB" + ("&share=group" if self.group is not None else "")


class Pod:
    """memory: the folder of the control group that nginx's container is in, if it has a limit."""

    def __init__(self, prepared, work, name, secret, volume=Volume(), memory=None):
        self.prepared, self.secret, self.name = prepared, secret, name
        self.volume, self.memory = volume, memory
        self.folder = work / name
        self.folder.mkdir(mode=0o755)
        self.sessions, self.scratch = self.folder / "sessions", self.folder / "scratch"
        volume.make(self.sessions)
        Volume().make(self.scratch)
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

    def _contained(self, *words, user, log, options=(), volumes, **variables):
        """A container's process as we see it: what inside.sh started is below it."""
        command = self.prepared.command
        env = {"PATH": f"{command.parent}:{os.environ['PATH']}:/usr/sbin", **variables}
        bound = [word for volume in volumes for word in ("--volume", *volume)]
        return processes.start(INSIDE, user, self.volume.groups(user), *options, *bound, *words,
                               log=self.folder / log, env=env)

    def start_nginx(self, **settings):
        """settings: store, if it is not the volume's; None: nobody says where."""
        store = settings.get("store", self.volume.store)
        volumes = ((self.sessions, "/mnt/sessions"), (self.scratch, "/mnt/scratch"),
                   (self.secret.folder, "/mnt/keys:ro"), (self.prepared.tls, "/mnt/tls:ro"))
        self.nginx = self._contained(
            START, "nginx", "-e", "stderr", "-c", self.folder / "nginx.conf", "-g", "daemon off;",
            user=USER, log="nginx.log", options=("--memory", self.memory) if self.memory else (),
            volumes=volumes, KEY_SECONDS="0.2", SESSCACHE_KEY_FILE="/mnt/keys/key",
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
        self.agent = self._contained(
            "sesscache", "agent", "--store", STORE, "--redis", redis, log="agent.log",
            user=USER if self.volume.group is None else AGENT,
            volumes=((self.sessions, "/mnt/sessions"),))

    def log(self, name="nginx"):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def reloads_to(self, old):
        """Whether other workers than the old ones serve."""
        now = self.workers()
        return same(True, len(now) == 2 and not now & old)
