"""The network of a fleet: two switches, and machines with a cable to each.

  front 10.80.0.0/24   clients and servers: clients .254, hosts .1 to .3
  back  10.80.1.0/24   agents and Redis: hosts .1 to .3, Redis .9

The switches are in the namespace of the case itself, where clients are too."""

from dataclasses import dataclass

from harness.network import through
from harness.run import run

FRONT, BACK = "front", "back"
PREFIX = {FRONT: "10.80.0", BACK: "10.80.1"}
CLIENTS = f"{PREFIX[FRONT]}.254"


def make(stores):
    """The switches; and a folder in memory for stores, as on a real host."""
    # The names of namespaces are this case's alone.
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    stores.mkdir(mode=0o711)
    run("mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", stores)
    _ip("link", "set", "lo", "up")
    for net in (FRONT, BACK):
        _ip("link", "add", net, "type", "bridge")
        _ip("link", "set", net, "up")
    _ip("address", "add", f"{CLIENTS}/24", "dev", FRONT)


@dataclass(frozen=True)
class Machine:
    """A namespace of this name; its addresses end with the number."""

    name: str
    number: int

    def add(self):
        _ip("netns", "add", self.name)
        self._ip("link", "set", "lo", "up")
        for net in (FRONT, BACK):
            cable = self._cable(net)
            _ip("link", "add", cable, "type", "veth", "peer", "name", net, "netns", self.name)
            _ip("link", "set", cable, "master", net, "up")
            self._ip("address", "add", f"{self.address(net)}/24", "dev", net)
            self._ip("link", "set", net, "up")
        return self

    def remove(self, neighbours):
        """Its cables are gone when this returns, and nobody remembers its Ethernet addresses: the
        next machine at its place has others. neighbours: machines that stay."""
        for net in (FRONT, BACK):
            _ip("link", "delete", self._cable(net))
        _ip("netns", "delete", self.name)
        _ip("neighbour", "flush", "dev", FRONT)
        for machine in neighbours:
            for net in (FRONT, BACK):
                machine._ip("neighbour", "flush", "dev", net)

    def address(self, net):
        return f"{PREFIX[net]}.{self.number}"

    def unplug(self):
        """Its cable to the back network, at the switch. Nobody is told: packets go nowhere, as
        behind a broken switch."""
        _ip("link", "set", self._cable(BACK), "down")

    def plug_in(self):
        _ip("link", "set", self._cable(BACK), "up")

    def _cable(self, net):
        """Its end at the switch."""
        return f"{net}-{self.name}"

    def _ip(self, *words):
        run("ip", *words, through=through(self.name))


def _ip(*words):
    run("ip", *words)
