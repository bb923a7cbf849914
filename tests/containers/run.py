#!/usr/bin/env python3
"""Containers, without a container runtime: the files of packaging/docker and packaging/kubernetes do what
they say, with namespaces in place of a runtime. Needs root and nginx.

    tests/containers/run.py [pod|sticky|sidecar|limited|bare|image]

  SESSCACHE_LIB, SESSCACHE_COMMAND  the library and the command, if not those of target/release

Each part has network, mount and process namespaces of its own, and each container more of its own.
"""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from containers import memory
from containers.container import START, STORE, USER, Pod, Secret, Volume
from harness import built, namespaces, tls, verdicts
from harness.network import free_port
from harness.packages import need
from harness.redis import Redis
from harness.run import result, run
from harness.verdicts import check, note_skip, same, wait_until

TRIES = 50
FS_GROUP = 20000
LIMIT = 48  # MiB of memory
CHECK = START.parent / "check.sh"


@dataclass
class Prepared:
    client: tls.Client
    library: Path
    command: Path
    files: Path  # the certificate
    tls: Path    # its key, as a Secret of that user


def prepare(folder):
    namespaces.must_be_possible()
    need("nginx", "nginx-light", "nginx")
    tls.make_certificate(folder)
    private = folder / "tls"
    private.mkdir()
    shutil.copy(folder / "key.pem", private)
    os.chown(private / "key.pem", USER, USER)
    return Prepared(tls.build_client(folder), built.copy_library(folder), built.copy_command(folder),
                    folder, private)


def new_key(prepared, work):
    run(prepared.command, "keygen", work / "key")
    return (work / "key").read_text()


class Sessions:
    """Of one pod, and how many of them resume in another. By id, because all pods share a store."""

    def __init__(self, prepared, work, pod):
        self.client, self.file = prepared.client.of(protocol="1.2"), work / f"of-{pod.name}"
        self.client.save(pod.port, self.file, TRIES)

    def all_resume(self, pod):
        return same(TRIES, self.client.offer(pod.port, self.file, TRIES))


def pods(prepared, work, volume_of_a, volume_of_b):
    need("redis-server", "redis-server", "redis-server")
    secret = Secret(work / "secret", new_key(prepared, work))
    redis = Redis.start(work, free_port())
    both = [Pod(prepared, work, name, secret, volume)
            for name, volume in (("a", volume_of_a), ("b", volume_of_b))]
    for pod in both:
        pod.start_nginx()
        pod.start_agent(redis.url)
    return secret, redis, both


def pod(prepared, work):
    """Its containers share an emptyDir that anybody may write to."""
    secret, redis, (a, b) = pods(prepared, work, Volume(), Volume())
    more = restarts(prepared, work, redis, a, b)
    rotate(prepared, work, secret, (a, b), more)
    check("no key is in a log", says_no_key, secret.text(), a.log() + a.log("agent"))


def restarts(prepared, work, redis, a, b):
    """Sessions of a resume in it and in b, also after a restart of each container of a.

    The sessions that were made last."""
    sessions = Sessions(prepared, work, a)
    check("all resume in both workers of the pod", sessions.all_resume, a)
    check("all resume in the other pod", wait_until, 30, sessions.all_resume, b)
    a.nginx.kill()
    a.start_nginx()
    check("all resume after a restart of nginx", sessions.all_resume, a)
    a.agent.kill()
    a.start_agent(redis.url)
    more = Sessions(prepared, work, a)
    check("new ones come to the other pod after a restart of the agent", wait_until, 30,
          more.all_resume, b)
    return more


def says_no_key(text, log):
    keys = re.findall("[0-9a-f]{64}", text)
    return bool(keys) and not any(key in log for key in keys)


def rotate(prepared, work, secret, both, sessions):
    """The three steps of packaging/kubernetes/rotate.yaml, each a change of the Secret."""
    a, b = both
    for step in (("--next",), ("--promote",), ("--keep", 2), ("--keep", 1)):
        file = work / "step"
        tls.write_secret(file, secret.text())
        run(prepared.command, "keygen", *step, file)
        old = [each.workers() for each in both]
        changed = file.read_text() != secret.text()
        secret.put(file.read_text())
        what = " ".join(map(str, step))
        if changed:
            check(f"keygen {what}: start.sh reloads both", wait_until, 30, lambda old=old: all(
                each.reloads_to(before) for each, before in zip(both, old, strict=True)))
        if step == ("--keep", 1):
            sessions = Sessions(prepared, work, a)  # the old ones have had their day
        check(f"keygen {what}: all resume in the pod", sessions.all_resume, a)
        check(f"keygen {what}: and in the other", wait_until, 30, sessions.all_resume, b)


def sticky(prepared, work):
    """An emptyDir may be sticky."""
    _, _, (a, b) = pods(prepared, work, Volume(0o1777), Volume(0o1777))
    sessions = Sessions(prepared, work, a)
    check("all resume in the pod", sessions.all_resume, a)
    check("all resume in the other pod", wait_until, 30, sessions.all_resume, b)


def sidecar(prepared, work):
    """The agent runs as a user of its own, in the pod's fsGroup. One emptyDir is sticky."""
    plain, is_sticky = Volume(0o2777, FS_GROUP), Volume(0o3777, FS_GROUP)
    _, redis, (a, b) = pods(prepared, work, plain, is_sticky)
    restarts(prepared, work, redis, a, b)
    restarts(prepared, work, redis, b, a)


def limited(prepared, work):
    """nginx's container may use less memory than its store is to have. Its emptyDir is in memory, too."""
    secret = Secret(work / "secret", new_key(prepared, work))
    large = f"file:{STORE}?size=64MiB"
    with memory.limited(LIMIT) as group:
        for name, store, room, missing in (("file", large, "96m", None),
                                           ("anonymous", None, "96m", None),
                                           ("full", large, "512k", "there is no room for a store")):
            lean = Pod(prepared, work, name, secret, memory=group)
            run("mount", "-t", "tmpfs", "-o", f"mode=777,size={room}", "tmpfs", lean.sessions)
            lean.start_nginx(store=store)
            serves_with_less(prepared, work, lean, missing)
            lean.nginx.kill()
            run("umount", lean.sessions)
        check("the kernel has killed nobody", lambda: same(0, memory.killed_in(group)))


def serves_with_less(prepared, work, lean, missing):
    """missing: the reason why there is no store; None: there is a smaller one."""
    before = lean.main(), lean.workers()
    sessions = Sessions(prepared, work, lean)
    says = missing or f"has {LIMIT // 4} MiB and not 64"
    check(f"{lean.name}: stderr says so", lambda: same(True, says in lean.log()))
    if not missing:
        check(f"{lean.name}: all resume in both workers", sessions.all_resume, lean)
    check(f"{lean.name}: the same processes serve", lambda: same(
        before, (lean.main(), lean.workers())))


def bare(prepared, work):
    """Nobody says where a store can be, and there is no place for one: it is in memory."""
    secret = Secret(work / "secret", new_key(prepared, work))
    lonely = Pod(prepared, work, "lonely", secret)
    lonely.start_nginx(store=None)
    check("all resume in both workers", Sessions(prepared, work, lonely).all_resume, lonely)
    check("stderr says so", lambda: same(True, "the store is shm:, which ends" in lonely.log()))


def image(prepared, work):
    """An image that has only what the Dockerfile copies, and one with musl."""
    for name in ("glibc", "musl"):
        root = work / name
        for folder in ("bin", "lib", "usr/bin", "usr/lib/sesscache"):
            (root / folder).mkdir(parents=True)
        for file in (CHECK, START):
            shutil.copy(file, root / "usr/lib/sesscache")
        shutil.copy(prepared.command, root / "usr/bin/sesscache")
    words = ("sh", "-c", "/usr/lib/sesscache/check.sh")
    check("an image with glibc passes", lambda: same(0, in_root(
        glibc_root(work / "glibc"), *words).returncode))
    busybox = musl_root(work / "musl")
    if not busybox:
        note_skip("no musl image: apt-get install musl-tools busybox-static")
        return
    done = in_root(work / "musl", *words)
    check("one with musl is refused", same, 1, done.returncode)
    check("in one line, which names musl", lambda: same(
        (1, True), (len(done.stderr.splitlines()), "musl" in done.stderr)))


def in_root(root, *words):
    return result("chroot", root, "/usr/bin/env", "PATH=/usr/bin:/bin", *words)


def glibc_root(root):
    """The programs that check.sh calls, with their libraries."""
    for program in ("sh", "env", "head"):
        copy_with_libraries(shutil.which(program), root, root / "usr/bin" / program)
    copy_with_libraries(root / "usr/bin/sesscache", root, None)
    shutil.copy(root / "usr/bin/sh", root / "bin/sh")
    return root


def copy_with_libraries(program, root, to):
    if to:
        shutil.copy(os.path.realpath(program), to)
    for word in run("ldd", program).split():
        if word.startswith("/"):
            place = root / word.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(word), place)


def musl_root(root):
    """A static shell and musl's loader, which is all that matters here. False: there is no such."""
    busybox, loader = shutil.which("busybox"), Path("/lib/ld-musl-x86_64.so.1")
    if not busybox or not loader.exists():
        return False
    for name in ("sh", "env", "head"):
        shutil.copy(busybox, root / "usr/bin" / name)
    shutil.copy(busybox, root / "bin/sh")
    shutil.copy(loader, root / "lib")
    return True


def networked(part):
    def on_loopback(prepared, work):
        run("ip", "link", "set", "lo", "up")
        part(prepared, work)
    return on_loopback


PARTS = {part.__name__: networked(part) for part in (pod, sticky, sidecar, limited, bare, image)}

if __name__ == "__main__":
    verdicts.main("test-containers", PARTS, prepare=prepare, again="tests/containers/run.py",
                  around=namespaces.apart, settings=built.SETTINGS)
