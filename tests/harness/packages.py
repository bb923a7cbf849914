"""Programs of the machine: there, or installed from Debian's packages where root may.

A service that comes with a package does not start, neither now nor at the next boot."""

import contextlib
import glob
import os
import shutil
from pathlib import Path

from .run import environment, result
from .verdicts import Skipped

_POLICY = Path("/usr/sbin/policy-rc.d")
_DENIED = 101


def find(program):
    """Its path, or None. A program with a slash is a file, or a pattern for files: the last."""
    if "/" in program:
        return max(glob.glob(program), default=None)
    return shutil.which(program, path=environment()["PATH"])


def need(program, package, service=None):
    """The path of a program. Installs the package if it is missing; Skipped if it cannot."""
    if found := find(program):
        return found
    if os.geteuid() != 0 or not find("apt-get"):
        raise Skipped(f"{program} is missing; as root: apt-get install {package}")
    print(f"installing {package}", flush=True)
    with _services_denied():
        failure = _install(package)
    if failure or not find(program):
        raise Skipped(f"{program} is missing, and installing {package} failed: {failure}")
    if service and find("systemctl"):
        result("systemctl", "disable", "--quiet", service)
    return find(program)


def need_root(why):
    if os.geteuid() != 0:
        raise Skipped(f"only root can {why}")


def unpack(folder, *packages):
    """Debian's packages, each "NAME" or "NAME=VERSION", below a folder instead of on the machine.
    Skipped if that is impossible."""
    if not find("apt-get") or not find("dpkg-deb"):
        raise Skipped(f"no apt-get, dpkg-deb to get {' '.join(packages)}")
    folder.mkdir()
    done = result("apt-get", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=folder,
                  seconds=120)
    if done.returncode != 0:
        raise Skipped(f"no {' '.join(packages)}: {done.stderr.strip()[-200:]}")
    for archive in folder.glob("*.deb"):
        result("dpkg-deb", "-x", archive, folder)


def _install(package):
    """The reason why it failed, or an empty text."""
    install = ("apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y",
               "--no-install-recommends", package)
    quiet = {"env": {"DEBIAN_FRONTEND": "noninteractive"}, "seconds": 600}
    done = result(*install, **quiet)
    if done.returncode != 0:
        result("apt-get", "update", **quiet)
        done = result(*install, **quiet)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else "apt-get said nothing"


@contextlib.contextmanager
def _services_denied():
    """While the block runs no package may start a service. A policy-rc.d of the machine is left
    alone; it then has to deny too."""
    if _POLICY.exists():
        if result(str(_POLICY), "any", "start").returncode != _DENIED:
            raise Skipped(f"{_POLICY} would let the package start its service")
        yield
        return
    _POLICY.write_text(f"#!/bin/sh\nexit {_DENIED}\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
