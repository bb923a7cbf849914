"""The image of a system: Debian's packages, as `packaging/deps.sh` installs them on a fresh one.

An image is a folder outside of the tree, made once. A system in it (enter.sh) never changes it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.built import ROOT
from harness.run import run
from harness.verdicts import Unusable

CACHE = Path(os.environ.get("SYSTEMS_CACHE", "/var/cache/sesscache-systems"))
MIRROR = os.environ.get("MIRROR", "http://deb.debian.org/debian")
ENTER = Path(__file__).parent / "enter.sh"
# What a Debian has that somebody works on, besides what deps.sh installs.
PACKAGES = ("make", "git", "ca-certificates", "procps", "iproute2", "mount", "util-linux")
GROUPS = ("build", "check", "demo", "test", "servers", "fleet")
# A release that is not out has lists whose end may be near, and past by a machine's clock.
_APT = "Acquire::Check-Valid-Until"


@dataclass(frozen=True)
class System:
    name: str
    title: str
    release: str
    newer: tuple = ()  # packages from experimental

    @property
    def image(self):
        return CACHE / self.name


SYSTEMS = {system.name: system for system in (
    System("debian12", "Debian 12", "bookworm"),
    System("debian13", "Debian 13", "trixie"),
    System("forky", "Debian forky", "forky"),
    System("openssl4", "Debian forky, OpenSSL 4 from experimental", "forky",
           ("libssl-dev", "openssl")),
)}


def must_be_possible():
    if os.geteuid() != 0:
        raise Unusable("only root can make a system's image and enter it")
    missing = [name for name in ("mmdebstrap", "unshare") if not shutil.which(name)]
    if missing:
        raise Unusable(f"no {', '.join(missing)} (Debian: apt-get install mmdebstrap util-linux)")


def toolchain():
    """The words that show this machine's Rust to a system: a toolchain of Debian may be too old."""
    home = Path(os.environ.get("HOME", "/root"))
    cargo = Path(os.environ.get("CARGO_HOME", home / ".cargo"))
    rustup = Path(os.environ.get("RUSTUP_HOME", home / ".rustup"))
    if not (cargo / "bin" / "cargo").exists() or not rustup.exists():
        raise Unusable("needs a Rust of rustup, which systems are shown")
    return ("--bind", cargo, "/opt/cargo", "--bind", rustup, "/opt/rustup")


def variables():
    path = "/opt/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return ("env", "-i", f"PATH={path}", "HOME=/root", "LC_ALL=C.UTF-8", "CARGO_HOME=/opt/cargo",
            "RUSTUP_HOME=/opt/rustup", "RUSTUP_AUTO_INSTALL=0", "DEBIAN_FRONTEND=noninteractive")


def make(system, folder):
    """Makes the image if it is missing: about five minutes and 2 GB. folder: for what is built
    beside it."""
    ready = CACHE / f"{system.name}.ready"
    if ready.exists():
        return
    print(f"making {system.image}", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    if system.image.exists():
        run("rm", "-rf", "--one-file-system", system.image, seconds=600)
    run("mmdebstrap", "--quiet", "--variant=apt", f"--aptopt={_APT} \"false\"",
        f"--include={','.join(PACKAGES)}", system.release, system.image, MIRROR, seconds=3600)
    _install(system, folder)
    ready.touch()


def _install(system, folder):
    """deps.sh's packages, as the first command on a fresh machine would install them."""
    (system.image / "etc/apt/apt.conf.d/99sesscache").write_text(f'{_APT} "false";\n')
    run(ENTER, system.image, folder / "installing", "--install", *toolchain(),
        "--bind", ROOT, "/mnt", *variables(), "sh", "-ec", _words(system), seconds=3600)


def _words(system):
    words = ["apt-get update -qq", f"cd /mnt && packaging/deps.sh {' '.join(GROUPS)}"]
    if system.newer:
        words += [
            f"echo 'deb {MIRROR} experimental main' >/etc/apt/sources.list.d/experimental.list",
            "apt-get update -qq",
            f"apt-get install -qq -y -t experimental {' '.join(system.newer)} >/dev/null",
        ]
    return "\n".join(words)
