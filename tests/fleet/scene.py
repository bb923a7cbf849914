"""The scene of a case: the network, a Redis, and up to three hosts; made for it alone."""

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from harness.redis import Redis

from . import network
from .host import Host
from .network import BACK, Machine
from .prepared import Prepared

NUMBERS = {"a": 1, "b": 2, "c": 3}
REDIS = Machine("redis", 9)
REDIS_ADDRESS = REDIS.address(BACK)
REDIS_URL = f"redis://{REDIS_ADDRESS}:6379"
LAST_LINES = 5


@dataclass(eq=False)
class Scene:
    """redis_options: of each Redis that is started from now on. url and agent_options: of agents.
    """

    prepared: Prepared
    work: Path
    redis: Redis | None = None
    redis_options: tuple = ()
    url: str = REDIS_URL
    agent_options: tuple = ()
    hosts: dict = field(default_factory=dict)

    @property
    def stores(self):
        return self.work / "run"

    def make(self):
        network.make(self.stores)
        REDIS.add()

    # --- Redis ----------------------------------------------------------------------------------

    def start_redis(self, *program):
        """With nothing in it, and nothing kept when it ends. program: another than Redis."""
        self.redis = Redis.start(
            self.work, 6379, *self.redis_options, address=REDIS_ADDRESS, namespace=REDIS.name,
            program=program or ("redis-server",))

    # --- hosts ----------------------------------------------------------------------------------

    def make_host(self, name, **how):
        """Without its server. how: as in Host."""
        host = self.hosts[name] = Host(self, Machine(name, NUMBERS[name]), **how)
        host.make()
        return host

    def add_hosts(self, *names, **how):
        """With servers and, unless they are stock, agents."""
        made = [self.make_host(name, **how) for name in names]
        for host in made:
            host.start_server()
            if not host.stock:
                host.start_agent()
        return made

    def remove_hosts(self, of):
        """All; their logs go to folders with this in their names."""
        for host in self.hosts.values():
            if host.agent:
                host.kill_agent()
            host.server.kill()
            host.machine.remove(neighbours=[REDIS])
            host.folder.rename(self.work / f"{host.name}-{of}")
            shutil.rmtree(host.in_memory)
        self.hosts = {}

    # --- at the end -----------------------------------------------------------------------------

    def check_health(self, forgiven=None):
        """Nothing in the logs says that something went wrong, and every process lives."""
        for host in self.hosts.values():
            host.check_server(forgiven)
        for host in self.hosts.values():
            if host.agent:
                host.check_agent()

    @contextlib.contextmanager
    def telling_why(self):
        """If the block ends early, the ends of all logs are shown."""
        try:
            yield
        except BaseException:
            for log in sorted(self.work.rglob("*.log")):
                lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
                if lines:
                    print(f"-- {log}", *lines, sep="\n", flush=True)
            raise
