#!/usr/bin/env python3
"""Runs real servers, unmodified: on stock libssl, with libsesscache preloaded, and with its host
store too. Says how many connections resume, across workers, reloads and restarts. The part
`tickets` has those with ticket keys of their own, `admission` says who is let in after a rule
changed, on seven of them; `early_data` how often a recorded request is carried out.

    tests/servers/run.py [PART...]    the servers whose names are given, tickets, admission, early_data;
                                      else all

LIBDIR or SESSCACHE_LIB says where the library is; WAYS names the ways to run, if not all (ways.py).
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import built, tls, verdicts
from servers import (admission, apache2, cyrus, dnsdist, dovecot, early_data, freeradius, haproxy,
                     hitch, hostapd, kamailio, lighttpd, memcached, mosquitto, named, nginx,
                     nginx_packaged, postgresql, puma, quic, redirect, ruby, stunnel4, tickets, uwsgi,
                     vsftpd)
from servers.server import Prepared

SERVERS = {
    "nginx": nginx.test,
    "nginx_packaged": nginx_packaged.test,
    "haproxy": haproxy.test,
    "apache2": apache2.test,
    "lighttpd": lighttpd.test,
    "stunnel4": stunnel4.test,
    "redirect": redirect.test,
    "hitch": hitch.test,
    "dovecot": dovecot.test,
    "postgresql": postgresql.test,
    "vsftpd": vsftpd.test,
    "mosquitto": mosquitto.test,
    "memcached": memcached.test,
    "uwsgi": uwsgi.test,
    "dnsdist": dnsdist.test,
    "named": named.test,
    "puma": puma.test,
    "ruby": ruby.test,
    "cyrus": cyrus.test,
    "hostapd": hostapd.test,
    "freeradius": freeradius.test,
    "kamailio": kamailio.test,
    "tickets": tickets.test,
    "admission": admission.test,
    "early_data": early_data.test,
    "nginx_quic": quic.test_of(quic.Nginx),
    "haproxy_quic": quic.test_of(quic.Haproxy),
}

# The longest part takes one on a quiet machine, and six at a load of 20.
MOST_SECONDS = 15 * 60


def prepare(folder):
    return Prepared(built.copy_library(folder), tls.build_client(folder))


if __name__ == "__main__":
    verdicts.main("test-servers", SERVERS, prepare=prepare, again="tests/servers/run.py",
                  settings=(*built.SETTINGS, "WAYS"), most_seconds=MOST_SECONDS)
