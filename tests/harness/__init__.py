"""The library of the agent, servers and fleet harnesses: Python 3.11, standard library only.

  verdicts    checks and their count, skips, the closing line, running parts by name
  run         a command, run to its end in an environment without the overlay
  processes   processes in the background, and that none is left behind
  network     ports that nobody uses, who listens, HTTP, network namespaces
  namespaces  a part in namespaces of its own, of which nothing is left
  built       the library and the command that are tested
  packages    programs of the machine, installed from Debian's packages where root may
  tls         certificates, key files, the resuming client (client.c)
  quic        a resuming client over QUIC
  redis       a real Redis, and a connection that speaks its protocol
  agent       a sesscache agent: its log, its metrics, its health
  record      the layout of a record

A harness is a program that gives verdicts.main a table of parts, by name. A part is a function of
what the harness prepared and of a folder of its own. It starts all that it needs, so that it runs
alone:

    def stopped(built, work):
        redis = Redis.start(work, free_port())
        agent = Agent.start(built.command, work / "store", redis.url, work / "agent.log")
        check("it connects", agent.says_soon, "connected to Redis")
        with redis.process.paused():
            check("healthz tells", wait_until, 15, agent.is_unhealthy)

    main("agent", {"stopped": stopped}, prepare=build, again="tests/agent/run.py")
"""
