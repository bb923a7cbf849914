"""A Debian machine that systemd has booted, in a container of its own (systemd-nspawn).

The image is made once, by mmdebstrap, in a folder outside of the tree. Each machine writes to a folder of its own
above it (overlayfs). The machine has no network but its loopback, and perhaps a cable to another one.
"""

import contextlib
import os
import shutil
from pathlib import Path

from harness import processes
from harness.run import result, run
from harness.verdicts import Unusable, wait_until

COMMON = ("systemd-sysv", "dbus", "openssl", "ssl-cert", "procps")
# Of the images. Two servers of FTP, or of mail, cannot be on one machine.
PACKAGES = {
    "": ("nginx-light", "haproxy", "apache2", "dovecot-imapd", "postfix"),
    "further": ("lighttpd", "lighttpd-mod-openssl", "stunnel4", "hitch", "proftpd-core",
                "proftpd-mod-crypto", "mariadb-server", "mosquitto", "bind9", "unbound", "puma",
                "gunicorn", "php-cli", "libmojolicious-perl", "libio-socket-ssl-perl"),
    "refused": ("vsftpd", "exim4-daemon-light", "postgresql"),
}
RELEASES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
CACHE = Path(os.environ.get("OPERATORS_CACHE", "/var/cache/sesscache-operators"))
MIRROR = os.environ.get("MIRROR", "http://deb.debian.org/debian")
# Two machines in one control group would see, and stop, each other's services. "$0" is the group's name.
IN_A_GROUP = """
for place in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e $place/cgroup.procs ] || continue
    mkdir -p "$place/$0"
    echo $$ >"$place/$0/cgroup.procs"
done
exec "$@"
"""


def must_be_possible():
    if os.geteuid() != 0:
        raise Unusable("only root can boot a machine")
    needed = {"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap",
              "nsenter": "util-linux", "mount": "mount", "ip": "iproute2", "redis-server": "redis-server"}
    missing = [name for name in needed if not shutil.which(name)]
    if missing:
        raise Unusable(f"no {', '.join(missing)}"
                       f" (Debian: apt-get install {' '.join(map(needed.get, missing))})")


def image_of(release, kind):
    """The archive of a release with the packages of a kind, made if it is missing: some minutes."""
    image = CACHE / f"{release}{kind and '-'}{kind}.tar"
    if not image.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"making {image}", flush=True)
        new = image.with_suffix(".new.tar")
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(COMMON + PACKAGES[kind])}",
            release, new, MIRROR, seconds=1800)
        new.rename(image)
    return image


def unpacked(release, kind):
    """The folder of an image's files, which nobody changes."""
    image = image_of(release, kind)
    folder = image.with_suffix("")
    if not folder.exists():
        new = image.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o755)
        run("tar", "-C", new, "-xpf", image, seconds=600)
        new.rename(folder)
    return folder


class Machine:
    """A booted machine. Commands run in it by `do`, clients on its loopback by `through`."""

    def __init__(self, release, kind, folder, name):
        self.release, self.name, self.folder = release, name, folder / name
        self.root = self.folder / "root"
        for each in (self.root, folder / name / "changes", folder / name / "work"):
            each.mkdir(mode=0o755, parents=True)
        run("mount", "-t", "overlay", "overlay", "-o",
            f"lowerdir={unpacked(release, kind)},upperdir={self.folder / 'changes'},"
            f"workdir={self.folder / 'work'}", self.root)
        self.leader = self._process = None
        self._group = f"sesscache-{os.getpid()}-{name}"

    def put(self, file, inside, mode=0o644):
        place = self.path(inside)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(mode)

    def path(self, inside):
        """Our path of a file in it; once it has booted, as it sees its own mounts."""
        root = f"/proc/{self.leader}/root" if self.leader else self.root
        return Path(root) / inside.lstrip("/")

    def boot(self):
        self._process = processes.start(
            "systemd-nspawn", "--quiet", "-D", self.root, "--private-network", "--register=no",
            "--keep-unit", f"--machine={self._group}", f"--hostname={self.name}", "-b",
            log=self.folder / "boot.log", through=("sh", "-euc", IN_A_GROUP, self._group))
        wait_until(90, self._has_booted)

    def _has_booted(self):
        found = processes.children(self._process.pid)
        if not found:
            return False
        self.leader = found[0]
        done = result(*self.through("-t"), "systemctl", "is-system-running", seconds=20)
        return done.stdout.strip() in ("running", "degraded")

    def through(self, kind="-n"):
        """The words before a command that runs in the machine ("-t"), or only on its network."""
        spaces = ("-m", "-u", "-i", "-n", "-p", "-C") if kind == "-t" else ("-n",)
        return ["nsenter", "-t", str(self.leader), *spaces]

    def ip(self, *words):
        run("ip", *words, through=self.through())

    def do(self, *words, status=0):
        """Runs a command in the machine; what it said."""
        return run(*self.through("-t"), *words, seconds=120, status=status)

    def tree(self):
        """The files of /etc, /run/sesscache and /var/cache: their kind, mode, owner and contents.

        Without what Debian itself changes when a service stops or starts."""
        found = self.do("find", "/etc", "/run/sesscache", "-printf", "%p %y %m %U:%G %l\n",
                        status=None)
        sums = self.do("sh", "-c", "find /etc -type f -exec sha256sum {} +")
        lines = (found + sums).splitlines()
        return sorted(line for line in lines if "No such file" not in line)

    def off(self):
        if self.leader:
            # One that does not end is killed with all that the test has started.
            with contextlib.suppress(AssertionError):
                result(*self.through("-t"), "systemctl", "poweroff", "--no-wall", seconds=20)
                self._process.status(60)
            self.leader = None
        run("umount", "--lazy", self.root)
        for group in Path("/sys/fs/cgroup").glob(f"**/{self._group}"):
            result("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";")


def connect(first, second):
    """A cable between two machines that have booted; their addresses."""
    run("ip", "link", "add", "cable", "netns", first.leader, "type", "veth",
        "peer", "name", "cable", "netns", second.leader)
    addresses = "10.83.0.1", "10.83.0.2"
    for machine, address in zip((first, second), addresses):
        machine.ip("address", "add", f"{address}/24", "dev", "cable")
        machine.ip("link", "set", "cable", "up")
    return addresses
