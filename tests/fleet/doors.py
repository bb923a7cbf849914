"""The ways into Redis: one agent comes through its unix socket, the other by TLS, as a user who may
do no more than an agent must."""

from harness.tls import make_authority, write_secret
from harness.verdicts import check, wait_until

from .host import BY_ID, TRIES
from .scene import REDIS_ADDRESS

PASSWORD = "correct-horse"
MAY_DO = ("+ping", "+time", "+xadd", "+xread", "+xrange", "+xlen", "+xinfo|stream")
STATEFUL = BY_ID[1]


def doors(scene):
    a, b = make_hosts(scene)
    for kind in BY_ID:
        of_a, of_b = a.save(kind, TRIES), b.save(kind, TRIES)
        check(f"unix socket to TLS, {kind}: a's sessions resume on b", wait_until, 10, b.resumes,
              of_a)
        check(f"TLS to unix socket, {kind}: b's sessions resume on a", wait_until, 10, a.resumes,
              of_b)
    scene.redis("ACL", "SETUSER", "agent", "-xadd")
    sessions = b.save(STATEFUL, TRIES)
    check("the user may not write any more: b's sessions resume on b", b.resumes, sessions)
    scene.redis("ACL", "SETUSER", "agent", "+xadd")
    check("the user may write again: b's sessions resume on a", wait_until, 10, a.resumes,
          sessions)
    print("agents through a unix socket and through TLS with a user who may:", *MAY_DO)
    scene.check_health()


def make_hosts(scene):
    """a, whose agent comes through the socket, and b, whose agent comes by TLS."""
    work, socket = scene.work, scene.stores / "redis.sock"
    make_authority(work, REDIS_ADDRESS)
    scene.redis_options = (
        "--unixsocket", socket, "--tls-port", 6380, "--tls-auth-clients", "no",
        "--tls-cert-file", work / "issued.pem", "--tls-key-file", work / "issued_key.pem",
        "--tls-ca-cert-file", work / "ca.pem")
    scene.start_redis()
    scene.redis("ACL", "SETUSER", "agent", "on", f">{PASSWORD}", "resetkeys", "~sesscache:*",
                "resetchannels", "-@all", *MAY_DO)
    write_secret(work / "password", f"{PASSWORD}\n")
    scene.url = f"unix://{socket}"
    a, = scene.add_hosts("a")
    scene.url = f"rediss://{REDIS_ADDRESS}:6380"
    scene.agent_options = ("--tls-ca", work / "ca.pem", "--user", "agent",
                           "--password-file", work / "password")
    b, = scene.add_hosts("b")
    return a, b
