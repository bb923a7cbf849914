"""Redis Cluster: streams on several nodes, one that hangs, and one that dies and has a replica."""

import signal

from harness.network import free_port
from harness.redis import Redis
from harness.run import run
from harness.tls import make_self_signed
from harness.verdicts import at_least, check, same, wait_until

from .command_line import refuses
from .failover import make_unreplicated
from .outages import SENT_AGAIN


def start_node(scene, port, *options):
    folder = scene.work / f"node-{port}"
    folder.mkdir(exist_ok=True)
    return Redis.start(folder, port, "--cluster-enabled", "yes", "--cluster-port", free_port(),
                       *options, name=f"node-{port}")


def make_cluster(nodes, replicas):
    run("redis-cli", "--cluster", "create", *(f"127.0.0.1:{node.port}" for node in nodes),
        "--cluster-replicas", replicas, "--cluster-yes")
    wait_until(10, lambda: b"cluster_state:ok" in nodes[-1]("CLUSTER", "INFO"))


def use_cluster(scene, nodes):
    scene.url = f"{nodes[0].url},{nodes[1].url}"
    scene.options = ("--cluster",)


def cluster(scene):
    nodes = [start_node(scene, free_port(), "--cluster-node-timeout", "2000") for _ in range(3)]
    make_cluster(nodes, replicas=0)
    a, b = scene.host("a"), scene.host("b")
    check("a node of a cluster without --cluster", refuses, scene, 1,
          "Redis is cluster: .*--cluster", "--once", "--store", a.store, "--redis", nodes[0].url)
    use_cluster(scene, nodes)
    a.start_agent()
    b.start_agent()
    check("a connects", a.agent.says_soon, "connected to Redis")
    check("b connects", b.agent.says_soon, "connected to Redis")
    a.make("cluster", 20)
    check("20 of 20 of a resume at b", wait_until, 5, b.resumes, "cluster", 20)
    check("the streams are on several nodes", at_least, 2,
          sum(node("DBSIZE") > 0 for node in nodes))
    with nodes[1].process.paused():
        a.make("partly", 10)
        check("a node that hangs is told", wait_until, 15,
              lambda: a.agent.figure('redis_state{state="ok"}') != 1)
    check("all arrive when it is back", wait_until, 20, b.resumes, "partly", 10)
    check("a ends", a.agent.ends)
    check("b ends", b.agent.ends)


def is_replicated(node):
    """It has a replica that is connected to it, or is one."""
    role = node("ROLE")
    return bool(role[2]) if role[0] == b"master" else same(b"connected", role[3])


def is_role(node, role):
    return same(role, node.role())


def cluster_failover(scene):
    options = ("--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
               "--repl-diskless-sync-delay", "0")
    nodes = [start_node(scene, free_port(), *options) for _ in range(6)]
    make_cluster(nodes, replicas=1)
    check("every master has a replica", wait_until, 15, lambda: all(map(is_replicated, nodes)))
    use_cluster(scene, nodes)
    a, b = scene.host("a"), scene.host("b")
    a.start_agent()
    b.start_agent()
    check("a connects", a.agent.says_soon, "connected to Redis")
    a.make("before", 10)
    check("all is well", wait_until, 10, b.resumes, "before", 10)
    # The master with the most streams.
    master = max((node for node in nodes if node.role() == "master"),
                 key=lambda node: node("DBSIZE"))
    replica_port = int(master("ROLE")[2][0][1])
    replica = next(node for node in nodes if node.port == replica_port)
    make_unreplicated(a, b, master, replica, "unreplicated", 20)
    master.process.kill()
    replica.process.send(signal.SIGCONT)
    b.start_agent()
    a.make("meanwhile", 10)
    check("on the same host all resume meanwhile", a.resumes, "unreplicated", 20)
    check("the replica is promoted", wait_until, 20, is_role, replica, "master")
    check("what was made meanwhile arrives", wait_until, 20, b.resumes, "meanwhile", 10)
    check("what the replica lacked arrives", wait_until, 20, b.resumes, "unreplicated", 20)
    check("as a sent everything again", a.agent.shows, SENT_AGAIN, 1)
    check("nothing was lost", a.agent.shows, "replication_lost_records_total", 0)
    master = start_node(scene, master.port, *options)
    check("the old master comes back as a replica", wait_until, 15, is_role, master, "slave")
    b.make("back", 10)
    check("and all is well", wait_until, 10, a.resumes, "back", 10)
    scene.end_agents()


def announced(scene):
    """A cluster whose nodes announce addresses of no use: the address is told, and why."""
    store = scene.host("a").store
    certificate, key = make_self_signed(scene.work, "DNS:localhost", "localhost")
    tls_port, closed = free_port(), free_port()
    tls = ("--tls-port", tls_port, "--tls-cert-file", certificate, "--tls-key-file", key,
           "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no",
           "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1")
    nodes = (start_node(scene, free_port(), "--cluster-announce-port", closed),
             start_node(scene, free_port(), *tls))
    for node in nodes:
        node("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_until(10, lambda one=node: b"cluster_state:ok" in one("CLUSTER", "INFO"))
    once = ("--once", "--cluster", "--store", store, "--redis")
    announces = "Redis is unreachable: the cluster announces 127.0.0.1:{}, where no connection.*{}.*"
    check("a port where nobody listens", refuses, scene, 1, announces.format(closed, "refused"),
          *once, nodes[0].url)
    scene.url = f"rediss://localhost:{tls_port}"
    scene.hosts["a"].start_agent("--cluster", "--tls-ca", certificate)
    # The client of a cluster goes on trying for some seconds.
    check("an address that the certificate does not name", scene.hosts["a"].agent.says_soon,
          announces.format(tls_port, "certificate not valid for name").removeprefix("Redis "), 20)
    scene.end_agents()


def cut_off(replica, master):
    """The replica no longer hears its master, whose writes it will lack: it cannot log in."""
    replica("CONFIG", "SET", "masteruser", "nobody")
    replica("CONFIG", "SET", "masterauth", "x")
    master("CLIENT", "KILL", "TYPE", "replica")
    wait_until(5, lambda: not master("ROLE")[2])


def reconcile(replica, master):
    """A node that was cut off, or its master of before, follows."""
    for node in (replica, master):
        node("CONFIG", "SET", "masteruser", "")
        node("CONFIG", "SET", "masterauth", "")
    return wait_until(15, is_replicated, replica)


def takeover(scene):
    """A replica that lacks entries takes over while the agent goes on, without an error. And another
    one a few seconds later, and again."""
    nodes = [start_node(scene, free_port(), "--cluster-node-timeout", "2000",
                        "--repl-diskless-sync-delay", "0") for _ in range(6)]
    make_cluster(nodes, replicas=1)
    check("every master has a replica", wait_until, 15, lambda: all(map(is_replicated, nodes)))
    use_cluster(scene, nodes)
    scene.options += ("--streams", "1")
    a, b = scene.host("a"), scene.host("b")
    a.start_agent()
    check("a connects", a.agent.says_soon, "connected to Redis")
    a.make("before", 1)
    check("it is acknowledged", wait_until, 5, a.has_sent, 1)
    # The agents' own stream, sesscache:{hosts}:about, may be elsewhere.
    master = next(node for node in nodes
                  if node.role() == "master" and node("KEYS", "sesscache:{web:*"))
    replica = next(node for node in nodes if node.port == int(master("ROLE")[2][0][1]))
    held = sent = 1
    for time in 1, 2, 3:
        cut_off(replica, master)
        a.make(f"lost {time}", 3)
        held, sent = held + 3, sent + 3
        check("what the replica lacks is acknowledged", wait_until, 5, a.has_sent, sent)
        replica("CLUSTER", "FAILOVER", "TAKEOVER")
        a.make(f"next {time}", 1)
        held, sent = held + 1, sent + 1
        check("the new master goes on", wait_until, 5, a.has_sent, sent)
        check("a sends everything again", wait_until, 5, a.agent.shows, SENT_AGAIN, time)
        sent += held
        check("until it has", wait_until, 5, a.has_sent, sent)
        master, replica = replica, master
        check("the old master follows", reconcile, replica, master)
    check("nobody is told of --cluster", same, [], a.agent.lines("give --cluster"))
    b.start_agent()
    for time in 1, 2, 3:
        check("what the replica lacked arrives", wait_until, 10, b.resumes, f"lost {time}", 3)
        check("and what it has", b.resumes, f"next {time}", 1)
    scene.end_agents()
