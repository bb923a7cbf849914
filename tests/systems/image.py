"""The images of a system: a fresh one, and one with Debian's packages, as `packaging/deps.sh` installs them.

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
    newer: tuple = ()  # packages that come from experimental
    groups: tuple = GROUPS  # of deps.sh, whose packages its image has

    @property
    def image(self):
        return CACHE / self.name

    @property
    def fresh(self):
        return CACHE / f"{self.name}-fresh"


SYSTEMS = {system.name: system for system in (
    System("debian12", "Debian 12", "bookworm"),
    System("debian13", "Debian 13", "trixie"),
    System("forky", "Debian forky", "forky"),
    System("openssl4", "Debian forky, OpenSSL 4 from experimental", "forky",
           ("libssl-dev", "openssl")),
)}


def log_of(system, step):
    return CACHE / f"{system.name}-{step.name}.log"


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


def make(system, folder, fresh):
    """Makes what is missing: a fresh image takes two minutes and 300 MB, one with packages five and
    2 GB. It gets what deps.sh has learned since. folder: for what is built beside it."""
    wanted = system.fresh if fresh else system.image
    ready = wanted.with_name(wanted.name + ".ready")
    if not ready.exists():
        print(f"making {wanted}", flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        if wanted.exists():
            run("rm", "-rf", "--one-file-system", wanted, seconds=600)
        run("mmdebstrap", "--quiet", "--variant=apt", f"--aptopt={_APT} \"false\"",
            f"--include={','.join(PACKAGES)}", system.release, wanted, MIRROR, seconds=3600)
        _settle_apt(wanted / "etc/apt", system.newer)
        ready.touch()
    if not fresh:
        _install(system, folder)


def _settle_apt(folder, newer):
    (folder / "apt.conf.d/99sesscache").write_text(f'{_APT} "false";\n')
    if newer:
        (folder / "sources.list.d/experimental.list").write_text(f"deb {MIRROR} experimental main\n")
        (folder / "preferences.d/experimental").write_text(
            f"Package: {' '.join(newer)}\nPin: release a=experimental\nPin-Priority: 990\n")


def _install(system, folder):
    """As the first command on a fresh machine would. Quick if nothing is missing."""
    run(ENTER, system.image, folder / "installing", "--install", *toolchain(),
        "--bind", ROOT, "/mnt", *variables(), "sh", "-ec",
        f"cd /mnt && packaging/deps.sh {' '.join(system.groups)}", seconds=3600)
