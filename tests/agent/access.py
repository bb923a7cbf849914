"""The ways into Redis: TLS with the right certificates, and a user who may do no more than an agent
must."""

from harness.network import free_port
from harness.redis import Redis
from harness.tls import make_issued, make_self_signed, write_secret
from harness.verdicts import check, same, wait_until

from .command_line import refuses
from .replication import run_once

ALLOWED = ("+xadd", "+xread", "+xrange", "+xlen", "+xinfo|stream", "+time",
           "+scan")
PASSWORD = "open sesame"


def tls_and_users(scene):
    scene.start_redis()
    a, b = scene.host("a"), scene.host("b")
    through_tls(scene, a, b)
    as_user(scene, a, b)


def through_tls(scene, a, b):
    url, authority = f"rediss://127.0.0.1:{scene.tls_port}", scene.files / "ca.pem"
    once = ("--store", a.store, "--redis", url, "--once")
    untrusted = "Redis is unreachable: .*certificate.*"
    a.make("tls", 3)
    for what, host in (("TLS", a), ("TLS at b", b)):
        check(what, lambda: run_once(scene, host, "--tls-ca", authority, redis=url))
    check("they arrive", b.resumes, "tls", 3)
    check("a certificate that is not trusted", refuses, scene, 1, untrusted, *once,
          "--tls-ca", scene.files / "certificate.pem")
    check("the system's certificates are not enough", refuses, scene, 1, untrusted, *once)
    check("unless they are the right ones", lambda: run_once(
        scene, a, redis=url, env={"SSL_CERT_FILE": str(authority)}))


def start_tls(scene, name, certificate, key, *options):
    """A Redis that shows this certificate; the URL."""
    port = free_port()
    Redis.start(scene.work, free_port(), "--tls-port", port, "--tls-cert-file", certificate,
                "--tls-key-file", key, "--tls-ca-cert-file", scene.files / "ca.pem", *options,
                name=name)
    return f"rediss://127.0.0.1:{port}"


def certificates(scene):
    """A Redis that asks for a certificate, as it does by default, and self-signed ones."""
    a, b = scene.host("a"), scene.host("b")
    asks_for_one(scene, a, b)
    self_signed(scene, a, b)
    of_no_authority(scene, a)


def asks_for_one(scene, a, b):
    files = scene.files
    url = start_tls(scene, "asking", files / "issued.pem", files / "issued_key.pem")
    authority = ("--tls-ca", files / "ca.pem")
    pair = ("--tls-cert", files / "issued.pem", "--tls-key", files / "issued_key.pem")
    once = ("--store", a.store, "--redis", url, "--once", *authority)
    check("none is shown", refuses, scene, 1, "Redis is unreachable: it asks for a client certificate; give --tls-cert and --tls-key",
          *once)
    a.make("shown", 3)
    for host in (a, b):
        check(f"one is shown by {host.name}",
              lambda: run_once(scene, host, *authority, *pair, redis=url))
    check("they arrive", b.resumes, "shown", 3)
    check("a certificate without its key", refuses, scene, 2, ".*--tls-key.*", *once, *pair[:2])
    check("and the other way round", refuses, scene, 2, ".*--tls-cert.*", *once, *pair[2:])
    check("the key of another", refuses, scene, 1, "Redis is denied: .*key.pem.*", *once,
          *pair[:3], files / "key.pem")
    check("a file without a key", refuses, scene, 1, "Redis is denied: .*no private key.*",
          *once, *pair[:3], files / "ca.pem")
    check("without TLS", refuses, scene, 2, ".*for rediss: URLs", "--store", a.store, "--redis",
          "redis://127.0.0.1", *pair)


def self_signed(scene, a, b):
    own = make_self_signed(scene.work)
    foreign = make_self_signed(scene.work, "IP:127.0.0.2", "foreign")
    anyone = ("--tls-auth-clients", "no")
    url = start_tls(scene, "self_signed", *own, *anyone)
    untrusted = "Redis is unreachable: .*certificate.*"
    a.make("self", 3)
    for host in (a, b):
        check(f"a self-signed certificate, at {host.name}",
              lambda: run_once(scene, host, "--tls-ca", own[0], redis=url))
    check("they arrive", b.resumes, "self", 3)
    once = ("--store", a.store, "--once", "--redis")
    check("another that is trusted does not help", refuses, scene, 1, untrusted, *once, url,
          "--tls-ca", foreign[0])
    url = start_tls(scene, "misnamed", *foreign, *anyone)
    check("nor one of another name", refuses, scene, 1, untrusted, *once, url,
          "--tls-ca", foreign[0])


def of_no_authority(scene, a):
    """The trusted certificate of one server, with whose key somebody issued another."""
    leaf = make_self_signed(scene.work, "DNS:other.test", "leaf", "-addext",
                            "basicConstraints=critical,CA:FALSE")
    make_issued(scene.work, leaf, "IP:127.0.0.1", "forged")
    url = start_tls(scene, "forged", scene.work / "forged.pem", scene.work / "forged_key.pem",
                    "--tls-auth-clients", "no")
    once = ("--store", a.store, "--once", "--redis", url, "--tls-ca")
    check("a certificate that no authority issued", refuses, scene, 1,
          "Redis is unreachable: .*certificate.*", *once, leaf[0])
    leaf = make_self_signed(scene.work, "IP:127.0.0.1", "leaf", "-addext",
                            "basicConstraints=critical,CA:FALSE")
    url = start_tls(scene, "leaf", *leaf, "--tls-auth-clients", "no")
    check("the trusted one itself", lambda: run_once(scene, a, "--tls-ca", leaf[0], redis=url))


def causes(scene):
    """A Redis that cannot be used, and the words that say why and name the mend."""
    scene.start_redis()
    a, port = scene.host("a"), free_port()
    Redis.start(scene.work, port, "--replicaof", "127.0.0.1", scene.redis_port,
                name="replica")
    locked = Redis.start(scene.work, free_port(), "--requirepass", PASSWORD, name="locked")
    password, plain = scene.work / "password", f"127.0.0.1:{scene.redis_port}"
    write_secret(password, "wrong\n")
    authority = ("--tls-ca", scene.files / "ca.pem")
    for what, url, options, words in (
            ("a plain port", f"rediss://{plain}", (), "unreachable: .* without TLS needs redis:"),
            ("a port of TLS", f"redis://127.0.0.1:{scene.tls_port}", (),
             "unreachable: .* with TLS needs rediss:"),
            ("another name", f"rediss://localhost:{scene.tls_port}", authority,
             "unreachable: its certificate is not for the name that --redis has"),
            ("an unknown issuer", f"rediss://127.0.0.1:{scene.tls_port}", (),
             "unreachable: the issuer of its certificate is not trusted; .* --tls-ca"),
            ("a replica", f"redis://127.0.0.1:{port}", (), "read-only: it is a replica, .* master"),
            ("a password", locked.url, (), "denied: it asks for a password; .*--password-file"),
            ("another password", locked.url, ("--password-file", password),
             "denied: it refuses the user or the password; see --user and --password-file"),
            ("nobody", f"redis://127.0.0.1:{free_port()}", (), "unreachable: Connection refused;")):
        scene.url = url
        a.start_agent(*options)
        check(f"{what} is told", a.agent.says_soon, f"WARN Redis at .* is {words}")
        check(f"{what}: no number of an error is", same, [], a.agent.lines("os error"))
        check(f"{what}: the agent ends", a.agent.ends)


def as_user(scene, a, b):
    """Two users are left: the agent's, and an auditor who reads the list of refusals."""
    password = scene.work / "password"
    scene.redis("ACL", "SETUSER", "porter", "on", f">{PASSWORD}", "~sesscache:*", "-@all",
                *ALLOWED)
    scene.redis("ACL", "SETUSER", "auditor", "on", ">look", "+acl")
    scene.redis("ACL", "SETUSER", "default", "off")
    check("nobody may do nothing", refuses, scene, 1, "Redis is denied: .*", "--once",
          "--redis", scene.url, "--store", a.store)
    write_secret(password, "wrong\n")
    a.start_agent("--user", "porter", "--password-file", password)
    check("a wrong password is told", wait_until, 5, a.agent.state_is, "denied")
    write_secret(password, f"{PASSWORD}\n")
    check("the right one is read again", wait_until, 15, a.agent.state_is, "ok")
    scene.url = f"redis://porter:open%20sesame@127.0.0.1:{scene.redis_port}"
    b.start_agent(tells=False)
    check("a password in the URL works", b.agent.says_soon, "connected to Redis", 5)
    check("and is advised against", b.agent.says, "the password in --redis")
    a.make("user", 5)
    check("they arrive", wait_until, 5, b.resumes, "user", 5)
    check("no password is in a line", tells_no_password, scene)
    check("no command was refused", same, [], refused_commands(scene))


def tells_no_password(scene):
    logs = list(scene.work.glob("agent-*.log"))
    assert len(logs) == 2, f"logs: {logs}"
    return not any("sesame" in log.read_text() for log in logs)


def refused_commands(scene):
    """Commands and keys in ACL LOG; the failed logins there are on purpose."""
    log = scene.redis("ACL", "LOG", user=("auditor", "look"))
    entries = [dict(zip(entry[::2], entry[1::2])) for entry in log]
    return [entry[b"object"] for entry in entries if entry[b"reason"] != b"auth"]
