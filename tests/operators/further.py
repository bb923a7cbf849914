"""Servers that fewer operators have, each with TLS as its documentation shows it.

lighttpd answers for hitch and stunnel on port 80. By default it refuses TLS 1.2 from 1.4.77 on.
"""

import shlex

from .services import CERTIFICATE, IDS, KEY, TICKETS, TLS13, Service

ALL = (IDS, TICKETS, TLS13)


def _journal(unit, words):
    return f"journalctl -q -u {unit} | grep -c '{words}'"


def _unit(name, command, reload, *more):
    """The lines that make a unit, for what Debian has none for."""
    lines = ["[Service]", f"ExecStart={command}", f"ExecReload={reload}", *more]
    return f"""
        printf '%s\\n' {" ".join(map(shlex.quote, lines))} >/etc/systemd/system/{name}.service
        systemctl daemon-reload
"""


def _signal(name):
    return f"/bin/kill -{name} $MAINPID"


HYPNOTOAD = "/usr/bin/hypnotoad /srv/hypnotoad/app.pl"
# PHP asks each client for a certificate unless verify_peer is off. A session of a client that was asked for
# one and gave none is shared with nobody.
PHP = """<?php
$options = ["ssl" => ["local_cert" => "/etc/php/both.pem", "verify_peer" => false]];
$server = stream_socket_server("tls://0.0.0.0:8443", $e, $m, 12, stream_context_create($options));
for ($i = 0; $i < 2; $i++) pcntl_fork();
for (;;) {
    if (!($client = @stream_socket_accept($server, 3600))) continue;
    while (($line = fgets($client)) !== false && trim($line) !== "");
    fwrite($client, "HTTP/1.0 200 OK\\r\\n\\r\\nok\\n");
    fclose($client);
}
"""


FURTHER = (
    Service("lighttpd", "lighttpd", "lighttpd", 443, (TICKETS, TLS13), kind="further",
            holds="lighttpd", reloaded="grep -c 'server started' /var/log/lighttpd/error.log", setup=f"""
        cat {CERTIFICATE} {KEY} >/etc/lighttpd/server.pem
        chmod 600 /etc/lighttpd/server.pem
        lighttpd-enable-mod ssl
        printf '%s\\n' 'ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.2")' >>/etc/lighttpd/conf-enabled/10-ssl.conf
        lighttpd -tt -f /etc/lighttpd/lighttpd.conf"""),
    Service("stunnel@https", "stunnel@https", "stunnel4", 8443, ALL, kind="further", holds="stunnel4",
            setup=f"""
        systemctl start lighttpd
        printf '%s\\n' 'foreground = yes' 'pid =' '[https]' 'accept = 8443' 'connect = 127.0.0.1:80' \\
            'cert = {CERTIFICATE}' 'key = {KEY}' >/etc/stunnel/https.conf"""),
    Service("hitch", "hitch", "hitch", 8443, ALL, kind="further", serving="hitch", holds="hitch", setup=f"""
        systemctl start lighttpd
        cat {KEY} {CERTIFICATE} >/etc/hitch/both.pem
        chmod 600 /etc/hitch/both.pem
        printf '%s\\n' 'frontend = "[*]:8443"' 'backend = "[127.0.0.1]:80"' 'workers = 2' \\
            'pem-file = "/etc/hitch/both.pem"' 'user = "_hitch"' 'group = "_hitch"' 'daemon = off' \\
            >/etc/hitch/hitch.conf"""),
    # A data connection has to resume the session of its own control connection, which mod_tls compares. With a
    # store as on stock, none passed that offered another client's session or no session.
    Service("proftpd", "proftpd", "proftpd-core", 990, ALL, kind="further", application="smtp",
            holds="proftpd", reloaded="grep -c 'performing daemon restart\\|received SIGHUP' /var/log/proftpd/proftpd.log",
            setup=f"""
        printf '127.0.0.1 %s\\n' "$(uname -n)" >>/etc/hosts
        sed -i 's/^# *LoadModule mod_tls.c/LoadModule mod_tls.c/' /etc/proftpd/modules.conf
        sed -i 's/^Port .*/Port 990/' /etc/proftpd/proftpd.conf
        printf '%s\\n' 'DefaultAddress 127.0.0.1' 'DelayEngine off' 'UseReverseDNS off' 'TLSEngine on' 'TLSOptions UseImplicitSSL' 'TLSProtocol TLSv1.2 TLSv1.3' \\
            'TLSRSACertificateFile {CERTIFICATE}' 'TLSRSACertificateKeyFile {KEY}' \\
            >/etc/proftpd/conf.d/tls.conf"""),
    Service("mariadb", "mariadb", "mariadb-server", 3306, ALL, kind="further", application="mysql",
            holds="mariadbd", shows=True, starttls="mysql", setup=f"""
        for file in {CERTIFICATE} {KEY}; do
            install -m 600 -o mysql $file /etc/mysql/
        done
        printf '%s\\n' '[mariadbd]' ssl-cert=/etc/mysql/ssl-cert-snakeoil.pem \\
            ssl-key=/etc/mysql/ssl-cert-snakeoil.key ssl-ca={CERTIFICATE} tls-version=TLSv1.2,TLSv1.3 \\
            >/etc/mysql/mariadb.conf.d/90-tls.cnf"""),
    Service("mosquitto", "mosquitto", "mosquitto", 8883, ALL, kind="further", application="mqtt",
            holds="mosquitto", reloaded="grep -c 'Reloading config' /var/log/mosquitto/mosquitto.log",
            setup=f"""
        install -m 600 -o mosquitto {KEY} /etc/mosquitto/certs/key.pem
        printf '%s\\n' 'listener 8883' 'allow_anonymous true' 'certfile {CERTIFICATE}' \\
            'keyfile /etc/mosquitto/certs/key.pem' >/etc/mosquitto/conf.d/tls.conf"""),
    Service("named", "named", "bind9", 853, ALL, kind="further", application="dns", holds="named",
            reloaded=_journal("named", "all zones loaded"), setup=f"""
        install -m 640 -g bind {KEY} /etc/bind/key.pem
        printf '%s\\n' 'tls own {{ cert-file "{CERTIFICATE}"; key-file "/etc/bind/key.pem"; }};' \\
            >>/etc/bind/named.conf
        sed -i 's/^options {{/& listen-on port 853 tls own {{ any; }}; dnssec-validation no;/; /listen-on-v6/d; /dnssec-validation auto/d' \\
            /etc/bind/named.conf.options
        named-checkconf"""),
    Service("unbound", "unbound", "unbound", 853, ALL, kind="further", application="dns",
            holds="unbound", reloaded=_journal("unbound", "Restart of unbound"), setup=f"""
        install -m 640 -g unbound {KEY} /etc/unbound/key.pem
        printf '%s\\n' 'server:' ' interface: 127.0.0.1@853' ' tls-service-pem: "{CERTIFICATE}"' \\
            ' tls-service-key: "/etc/unbound/key.pem"' >/etc/unbound/unbound.conf.d/tls.conf"""),
    Service("puma", "puma", "puma", 9292, (TICKETS, TLS13), kind="further", serving="puma", holds="puma",
            setup=f"""
        printf '%s\\n' 'workers 2' 'app {{ |_| [200, {{}}, ["ok"]] }}' \\
            "ssl_bind '0.0.0.0', '9292', {{ cert: '{CERTIFICATE}', key: '{KEY}' }}" >/etc/puma.rb
        """ + _unit("puma", "/usr/bin/puma -C /etc/puma.rb", _signal("USR2"))),
    Service("gunicorn", "gunicorn", "gunicorn", 8443, ALL, kind="further", serving="gunicorn", holds="gunicorn",
            setup="""
        mkdir -p /srv/gunicorn
        printf '%s\\n' 'def app(_, start):' '    start("200 OK", [])' '    return [b"ok"]' >/srv/gunicorn/app.py
        """ + _unit("gunicorn", "/usr/bin/gunicorn --chdir /srv/gunicorn -w 2 -b 0.0.0.0:8443"
                    f" --certfile {CERTIFICATE} --keyfile {KEY} app:app", _signal("HUP"))),
    Service("php-server", "php-server", "php-cli", 8443, ALL, kind="further", serving="php", holds="php",
            setup=f"""
        mkdir -p /etc/php /srv/php
        cat {CERTIFICATE} {KEY} >/etc/php/both.pem
        chmod 600 /etc/php/both.pem
        cat >/srv/php/server.php <<'END'
{PHP}END
        """ + _unit("php-server", "/usr/bin/php /srv/php/server.php", "")),
    Service("hypnotoad", "hypnotoad", "libmojolicious-perl", 8443, ALL, kind="further", serving="/srv/hypnotoad/",
            holds="/srv/hypnotoad/", setup=f"""
        mkdir -p /srv/hypnotoad
        printf '%s\\n' 'use Mojolicious::Lite;' 'get "/" => {{text => "ok"}};' 'app->config(hypnotoad => {{' \\
            '  listen => ["https://*:8443?cert={CERTIFICATE}&key={KEY}"], workers => 2, pid_file => "/run/hypnotoad.pid"}});' \\
            'app->start;' >/srv/hypnotoad/app.pl
        """ + _unit("hypnotoad", HYPNOTOAD, HYPNOTOAD, "Type=forking", "PIDFile=/run/hypnotoad.pid",
                    "KillMode=process")),
)
