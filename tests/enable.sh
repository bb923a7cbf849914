#!/usr/bin/env bash
# `sesscache enable` and `disable` on the trees of machines that do not run: what comes, what goes, and what
# is refused. tests/operators/ has them on machines that run.
# shellcheck source=tests/shell.sh
. "$(dirname "$0")/shell.sh"
unset LD_PRELOAD "${!SESSCACHE_STORE@}" "${!SESSCACHE_KEY_FILE@}"

command=$(realpath "${SESSCACHE_BIN:-target/release/sesscache}")
units=etc/systemd/system
mine=$(id -un)

# machine NAME: a tree with units as Debian has them, now the one that is asked about
machine() {
    tree=$work/$1
    mkdir -p "$tree"/{$units,run,usr/bin,usr/lib/systemd/system,usr/local/{bin,lib},etc/tmpfiles.d,etc/nginx/modules-enabled} \
        "$tree"/etc/{dovecot/conf.d,postfix}
    ln -s usr/lib "$tree/lib"
    : >"$tree/usr/local/lib/libsesscache.so.0" >"$tree/usr/local/bin/sesscache"
    printf 'root:x:0:0::/root:/bin/sh\n%s:x:%s:%s::/:/bin/sh\n' web "$(id -u)" "$(id -g)" >"$tree/etc/passwd"
    unit nginx "/usr/sbin/nginx -g 'daemon on; master_process on;'" Type=forking
    unit haproxy '/usr/sbin/haproxy -Ws -f $CONFIG' 'EnvironmentFile=-/etc/default/haproxy'
    unit apache2 '/usr/sbin/apachectl start'
    unit dovecot '/usr/sbin/dovecot -F'
    unit postfix /bin/true
    unit postfix@ '/usr/sbin/postmulti -i %i -p start'
    unit lighttpd '/usr/sbin/lighttpd -D -f /etc/lighttpd/lighttpd.conf'
    unit web '/srv/web --port 443' User=web 'Environment="LD_PRELOAD=/usr/lib/libjemalloc.so.2"'
    printf 'include /etc/nginx/modules-enabled/*.conf;\nhttp { ssl_certificate /c; }\n' >"$tree/etc/nginx/nginx.conf"
    printf '!include conf.d/*.conf\n' >"$tree/etc/dovecot/dovecot.conf"
    printf 'compatibility_level = 3.6\nmyhostname = vm' >"$tree/etc/postfix/main.cf"
}

# unit NAME COMMAND LINE...
unit() {
    local name=$1 command=$2
    shift 2
    printf '%s\n' '[Unit]' "Description=$name" '[Service]' "ExecStart=$command" "$@" \
        >"$tree/usr/lib/systemd/system/$name.service"
}

# A tree as it is: each file with its mode, owner and contents
state() {
    find "$tree" -printf '%p %y %m %U:%G %l\n' | sort
    find "$tree" -type f -exec sha256sum {} + | sort
}

fails() { ! "$@"; }
on() { "$command" enable --root "$tree" "$@"; }
off() { "$command" disable --root "$tree" "$@"; }

# refuses CODE PATTERN COMMAND...: it ends with this code and one line like this, and changes nothing
refuses() {
    local code=$1 pattern=$2 found=0 before
    shift 2
    before=$(state)
    "$@" >"$work/out" 2>"$work/err" </dev/null || found=$?
    cat "$work/out" "$work/err"
    same "$code" "$found" && same '' "$(cat "$work/out")" && same 1 "$(wc -l <"$work/err")" &&
        grep -qx -- "sesscache: $pattern" "$work/err" && same "$before" "$(state)"
}

# comes_and_goes NAME RESTART: twice enabled is once enabled; dry it is nothing; disabled it is as before
comes_and_goes() {
    local before enabled
    before=$(state)
    check "$1: a dry run says what it would do" bash -c "'$command' enable --root '$tree' --dry-run $1 |
        grep -q '^not done, because of --dry-run: wrote .*/sesscache.conf'"
    check "$1: and does nothing" same "$before" "$(state)"
    check "$1: enabled, with the next step" same "next: systemctl restart $2" "$(on "$1" | tail -n 1)"
    enabled=$(state)
    check "$1: something changed" test "$enabled" != "$before"
    check "$1: a second time says so" same "${3:-$1} is enabled already" "$(on "$1" | tail -n 1)"
    check "$1: and changes nothing" same "$enabled" "$(state)"
    check "$1: a dry end does nothing" same "$enabled" "$(off --dry-run "$1" >"$work/said_dry" && state)"
    check "$1: which says what it would do" grep -q '^not done, .* removed .*/sesscache.conf' "$work/said_dry"
    # The server made it.
    mkdir -p "$tree/run/sesscache" && [[ -d $tree/run/sesscache/${3:-$1} ]] || : >"$tree/run/sesscache/${3:-$1}"
    check "$1: disabled" same "next: systemctl restart $2" "$(off "$1" | tail -n 1)"
    check "$1: all is as before" same "$before" "$(state)"
    mkdir "$tree/run/sesscache" && : >"$tree/run/sesscache/${3:-$1}"
    check "$1: a store that it made before its restart goes, too" grep -qx "removed .*/run/sesscache/${3:-$1}" \
        <(off "$1")
    check "$1: all is as before" same "$before" "$(state)"
    check "$1: a second time there is nothing" same "${3:-$1} is not enabled" "$(off "$1")"
    check "$1: and nothing happens" same "$before" "$(state)"
}

# drop_in UNIT: its lines that are no comments
drop_in() { grep -v '^#' "$tree/$units/$1.service.d/sesscache.conf"; }

variables() {
    printf '[Service]\nEnvironment=LD_PRELOAD=%s\nEnvironment=SESSCACHE_STORE=%s\nEnvironment=SESSCACHE_KEY_FILE=%s\n' "$@"
}

check_servers() {
    local library=/usr/local/lib/libsesscache.so.0
    machine debian
    comes_and_goes nginx nginx
    comes_and_goes haproxy haproxy
    comes_and_goes apache apache2
    comes_and_goes dovecot dovecot
    comes_and_goes postfix postfix
    comes_and_goes web web
    comes_and_goes apache2.service apache2 apache

    on nginx >"$work/told"
    check 'nginx: the variables' same "$(variables $library file:/run/sesscache/nginx /etc/sesscache/nginx.key)
Environment=SESSCACHE_TICKETS=override" "$(drop_in nginx)"
    check 'nginx: they are handed down' same 'env LD_PRELOAD; env SESSCACHE_STORE; env SESSCACHE_KEY_FILE; env SESSCACHE_TICKETS;' \
        "$(grep -v '^#' "$tree/etc/nginx/modules-enabled/90-sesscache.conf" | xargs)"
    check 'nginx: without a cache, that is said' grep -q 'nginx keeps no sessions by id' "$work/told"
    check 'the key is closed to others' same '600 1' "$(stat -c %a "$tree/etc/sesscache/nginx.key") \
$(grep -c '^[0-9]*:[0-9a-f]\{64\} ' "$tree/etc/sesscache/nginx.key")"
    on haproxy >/dev/null
    check 'haproxy: the variables' same \
        "$(variables $library file:/run/sesscache/haproxy /etc/sesscache/haproxy.key)" "$(drop_in haproxy)"
    off nginx >/dev/null
    check 'a folder that another server needs stays' test -d "$tree/etc/sesscache"
    off haproxy >/dev/null
    check 'until it goes, too' test ! -e "$tree/etc/sesscache"
    check_folders_that_stay
    on dovecot >/dev/null
    check 'Dovecot 2.3: they are handed down' grep -qx \
        'import_environment = $import_environment LD_PRELOAD SESSCACHE_STORE SESSCACHE_KEY_FILE' \
        "$tree/etc/dovecot/conf.d/99-sesscache.conf"
    sed -i '1i dovecot_config_version = 2.4.0' "$tree/etc/dovecot/dovecot.conf"
    on dovecot >/dev/null
    check 'Dovecot 2.4: they are handed down' grep -qx '  SESSCACHE_STORE = %{env:SESSCACHE_STORE}' \
        "$tree/etc/dovecot/conf.d/99-sesscache.conf"
    unit mariadb '/bin/sh -c "set -f; exec /usr/sbin/mariadbd $OPTS"'
    on mariadb >/dev/null
    check "MariaDB: the program is known behind its unit's shell" grep -qx Environment=SESSCACHE_ID_CONTEXT=ours \
        "$tree/$units/mariadb.service.d/sesscache.conf"
    on postfix >/dev/null
    check 'Postfix: they are handed down' grep -q \
        '^import_environment = MAIL_CONFIG .* LD_PRELOAD SESSCACHE_STORE SESSCACHE_KEY_FILE SESSCACHE_TICKETS$' \
        "$tree/etc/postfix/main.cf"
    check 'Postfix: sessions are kept' grep -q '^smtpd_tls_session_cache_database = ' "$tree/etc/postfix/main.cf"
    check 'Postfix: the unit that starts it' grep -q SESSCACHE_TICKETS=override \
        "$tree/$units/postfix@-.service.d/sesscache.conf"
}

# A folder that something came into meanwhile stays, and that is said. Wet and dry say the same.
check_folders_that_stay() {
    local said="the folder $tree/$units/apache2.service.d stays, because .hidden is in it"
    on apache >/dev/null
    : >"$tree/$units/apache2.service.d/.hidden"
    check 'a dry run says which folder would stay' same "$said" "$(off --dry-run apache | grep stays)"
    off apache >"$work/told"
    check 'a folder that is not empty stays, and that is said' same "$said" "$(grep stays "$work/told")"
    check 'it is not said to be removed' same '' "$(grep 'removed the folder .*apache2' "$work/told")"
    rm -r "$tree/$units/apache2.service.d"
}

# Each lighttpd has a namespace of its own, unless it is given one.
check_namespaces() {
    machine namespaces
    unit lighttpd@ '/usr/sbin/lighttpd -D -f /etc/lighttpd/%i.conf'
    local name file
    for name in lighttpd lighttpd@a; do
        on $name >"$work/told"
        check "$name has a namespace" grep -qx "Environment=SESSCACHE_NAMESPACE=${name/@/_}" \
            "$tree/$units/$name.service.d/sesscache.conf"
        check "$name: that is said" grep -q "^SESSCACHE_NAMESPACE=${name/@/_}, because lighttpd sets its certificates" \
            "$work/told"
        check "$name: its first line has the end" bash -c "sed -n '1s/.*\`sesscache disable \(.*\)\`.*/\1/p' \
            '$tree/$units/$name.service.d/sesscache.conf' | grep -qx '$name'"
        off $name >/dev/null
    done
    file=$tree/$units/lighttpd.service.d/sesscache.conf
    on --namespace mine lighttpd >"$work/told"
    check 'the operator has another' grep -qx Environment=SESSCACHE_NAMESPACE=mine "$file"
    check 'nothing is said then' fails grep -q NAMESPACE "$work/told"
    off lighttpd >/dev/null
    unit lighttpd '/usr/sbin/lighttpd -D' Environment=SESSCACHE_NAMESPACE=theirs
    on lighttpd >/dev/null
    check 'that of the unit stays' fails grep -q NAMESPACE "$file"
}

# Two services whose stores would have one name, and two instances of a server that have a file in common
check_two() {
    machine two
    unit a@ '/srv/a %i' User=web
    unit a_b /srv/b
    unit c@ '/srv/c %i'
    unit c_d /srv/d
    unit nginx@ '/usr/sbin/nginx -c /etc/nginx/%i.conf'
    cp "$tree/etc/nginx/nginx.conf" "$tree/etc/nginx/one.conf"
    local one two before
    for one in a@b c@d; do
        two=${one/@/_}
        on $one >/dev/null
        check "$one: another of its name" refuses 1 \
            "$two and $one would both have the name $two in /run/sesscache; \`sesscache disable $one\` first" on "$two"
        [[ -d $tree/run/sesscache/$two ]] || : >"$tree/run/sesscache/$two"
        before=$(state)
        check "$one: the end of the other" same "$two is not enabled" "$(off "$two")"
        check "$one: all stays" same "$before" "$(state)"
        # As an operator may have copied it.
        mkdir "$tree/$units/$two.service.d"
        sed "s/$one/$two/g" "$tree/$units/$one.service.d/sesscache.conf" >"$tree/$units/$two.service.d/sesscache.conf"
        off "$two" >/dev/null
        rmdir "$tree/$units/$two.service.d" 2>/dev/null || :
        check "$one: all stays, though both are enabled" same "$before" "$(state)"
        off $one >/dev/null
    done
    on nginx >/dev/null && on nginx@one >/dev/null
    off nginx >/dev/null
    check 'a file that another instance needs stays' test -f "$tree/etc/nginx/modules-enabled/90-sesscache.conf"
    off nginx@one >/dev/null
    check 'until it goes, too' test ! -e "$tree/etc/nginx/modules-enabled/90-sesscache.conf"
    on postfix >/dev/null
    check 'one unit under another name' refuses 1 \
        "$tree/.*/postfix@-.service.d/sesscache.conf was written by \`sesscache enable postfix\`; .*" on postfix@-
    check 'its end under another name' refuses 1 \
        "$tree/.*/postfix@-.service.d/sesscache.conf was .*; \`sesscache disable postfix\` first" off postfix@-
}

# A service whose user changes: what was made for the one before goes, or the line that mends it is named
check_users() {
    local before root_has
    before=$(state)
    unit web /srv/web
    on web >/dev/null && root_has=$(state | grep -v '\.key$') && off web >/dev/null
    unit web /srv/web User=web && on web >/dev/null
    unit web /srv/web
    before=$(state)
    check 'without a user: a dry run says what goes' same 2 "$(on --dry-run web |
        grep -c '^not done, .* removed .*/\(sesscache-web\|sesscache-agent@web.service.d/sesscache\).conf$')"
    check 'without a user: and does nothing' same "$before" "$(state)"
    : >"$tree/run/sesscache/web/web"
    check 'without a user: its folder is in use' refuses 1 \
        "$tree/run/sesscache/web is the folder of a user, and not empty; \`sesscache disable web\` first" on web
    rm "$tree/run/sesscache/web/web"
    rm "$tree/etc/sesscache/web.key" && mkdir "$tree/etc/sesscache/web.key"
    check 'without a user: what went comes back if it fails' refuses 1 "$tree/etc/sesscache/web.key is .*" on web
    rmdir "$tree/etc/sesscache/web.key"
    on web >/dev/null
    check 'without a user: all is as if there had been none' same "$root_has" "$(state | grep -v '\.key$')"
    : >"$tree/run/sesscache/web"
    echo 'd /srv - - - -' >"$tree/etc/tmpfiles.d/sesscache-web.conf"
    check 'without a user: a dry run leaves the store, and a file of others' same 'web is enabled already' \
        "$(on --dry-run web | tail -n 1)"
    check 'without a user: so does a second one' same 'web is enabled already' "$(on web | tail -n 1)"
    rm "$tree/etc/tmpfiles.d/sesscache-web.conf"
    unit web /srv/web User=web
    check "another user: root's store is in the way" refuses 1 \
        "$tree/run/sesscache/web is not a folder of web's; \`sesscache disable web\` first" on web
    off web >/dev/null
    mkdir -p "$tree/run/sesscache" && : >"$tree/run/sesscache/web"
    check "another user: a file that nothing of ours made" refuses 1 \
        "$tree/run/sesscache/web is not a folder of web's; remove it, and try again" on web
    rm -r "$tree/run/sesscache"
    printf '%s:x:%s:1::/:/bin/sh\n' other $(($(id -u) + 1)) >>"$tree/etc/passwd"
    on web >/dev/null
    unit web /srv/web User=other
    check 'another user: the folder of the one before' refuses 1 \
        "$tree/run/sesscache/web is not a folder of other's; \`sesscache disable web\` first" on web
    off web >/dev/null
    unit web '/srv/web --port 443' User=web 'Environment="LD_PRELOAD=/usr/lib/libjemalloc.so.2"'
}

# A service of its own user, that is confined
check_units() {
    machine others
    on web >/dev/null
    check 'a library that is preloaded already stays' grep -qx \
        'Environment=LD_PRELOAD=/usr/local/lib/libsesscache.so.0:/usr/lib/libjemalloc.so.2' \
        "$tree/$units/web.service.d/sesscache.conf"
    check 'a user has a folder' same "700 $mine" "$(stat -c '%a %U' "$tree/run/sesscache/web")"
    check 'and the store is there' grep -qx 'Environment=SESSCACHE_STORE=file:/run/sesscache/web/web' \
        "$tree/$units/web.service.d/sesscache.conf"
    check 'its agent is that user, and follows it' same "[Service]
User=web
RuntimeDirectory=
ExecStart=
ExecStart=/usr/local/bin/sesscache agent --store /run/sesscache/web/web \$AGENT_OPTIONS \$STORE_OPTIONS" \
        "$(drop_in sesscache-agent@web)"
    off web >/dev/null && mv "$tree"/usr/{local/,}bin/sesscache && on web >/dev/null
    check 'its command is where the tree has it' grep -q '^ExecStart=/usr/bin/sesscache agent ' \
        "$tree/$units/sesscache-agent@web.service.d/sesscache.conf"
    check 'at each boot' grep -qx 'd /run/sesscache/web 0700 web - -' "$tree/etc/tmpfiles.d/sesscache-web.conf"
    check 'and reaches its key' same 711 "$(stat -c %a "$tree/etc/sesscache")"
    off web >/dev/null
    check_users
    unit strict /srv/strict ProtectSystem=strict
    on strict >/dev/null
    check 'a confined unit may write there' grep -qx 'ReadWritePaths=/run/sesscache' \
        "$tree/$units/strict.service.d/sesscache.conf"
    off strict >/dev/null
    mkdir "$tree/$units/haproxy.service.d"
    printf '[Service]\nEnvironment=SESSCACHE_STORE=file:/run/sesscache/big?size=1GiB\n' \
        >"$tree/$units/haproxy.service.d/override.conf"
    check "the operator's variables stay" bash -c "'$command' enable --root '$tree' haproxy |
        grep -qx 'SESSCACHE_STORE stays as haproxy.service sets it'"
    check 'and are not set again' same 0 "$(drop_in haproxy | grep -c SESSCACHE_STORE)"
    printf '[Service]\nEnvironment=SESSCACHE_TICKET=off\n' >"$tree/$units/haproxy.service.d/override.conf"
    check 'a misspelt one is named' grep -qx 'SESSCACHE_TICKET is no setting; is SESSCACHE_TICKETS meant?' <(on haproxy)
    on --namespace 'a "b" 5%' nginx >/dev/null
    check 'a value in quotes' grep -qx 'Environment="SESSCACHE_NAMESPACE=a \\"b\\" 5%%"' \
        "$tree/$units/nginx.service.d/sesscache.conf"
    ln -s /usr/lib/systemd/system/web.service "$tree/$units/linked.service"
    off web >/dev/null
    on linked >"$work/told"
    check "a link to a unit is that unit's other name" same 'next: systemctl restart web' "$(tail -n 1 "$work/told")"
    check 'both have one drop-in' same 'web is enabled already' "$(on web | tail -n 1)"
    check 'which goes by either name' same 'next: systemctl restart web' "$(off linked | tail -n 1)"
    unit many@ /srv/many
    ln -s /usr/lib/systemd/system/many@.service "$tree/$units/many@a.service"
    check 'a link to a template is an instance' same 'next: systemctl restart many@a' "$(on many@a | tail -n 1)"
    printf '[Service]\nExecStart=/srv/x\n' >"$tree/srv.service"
    ln -s /srv.service "$tree/$units/apart.service"
    check 'a link to a file elsewhere is a unit of its own' same 'next: systemctl restart apart' \
        "$(on apart | tail -n 1)"
    unit jail /srv/jail RootDirectory=/srv/jail
    check 'a unit with a root of its own: that is said' grep -q '^jail.service has RootDirectory=/srv/jail: ' <(on jail)
}

check_refusals() {
    machine refused
    unit vsftpd /usr/sbin/vsftpd
    unit ftp /usr/sbin/vsftpd
    check 'vsftpd' refuses 1 'vsftpd must not share sessions: its require_ssl_reuse .*' on vsftpd
    check 'by its unit' refuses 1 'vsftpd must not share sessions: .*' on vsftpd.service
    check 'under another name' refuses 1 'ftp must not share sessions: .*' on ftp
    check 'PostgreSQL' refuses 1 'postgresql@15-main has nothing to gain .*: it turns resumption off .*' \
        on postgresql@15-main
    check 'no such unit' refuses 1 'there is no nosuch.service; is the server installed?.*' on nosuch
    unit masked /srv/x
    ln -s /dev/null "$tree/$units/masked.service"
    check 'a masked unit' refuses 1 'masked.service is masked: `systemctl unmask masked.service` first' on masked
    mkdir "$tree/$units/folder.service"
    check 'a unit that cannot be read' refuses 1 "$tree/$units/folder.service: Is a directory.*" on folder
    check 'not a name' refuses 2 "'../x' is not the name of a service" on ../x
    check 'no such root' refuses 1 "$work/none: No such file.*" "$command" enable --root "$work/none" nginx
    check 'no library' refuses 1 '.*/none.so: no such library; .*' on --library /none.so nginx
    check 'no key file' refuses 1 "$tree/none.key does not exist; .*" on --key-file /none.key nginx
    unit dynamic /srv/x DynamicUser=yes
    check 'a user that does not stay' refuses 1 'dynamic.service has DynamicUser=yes, .*' on dynamic
    unit dynamic /srv/x DynamicUser=True
    check 'in another spelling' refuses 1 'dynamic.service has DynamicUser=yes, .*' on dynamic
    unit nobody /srv/x User=gone
    check 'an unknown user' refuses 1 "nobody.service runs as gone, who is not in $tree/etc/passwd" on nobody
    mkdir -p "$tree/etc/default"
    echo 'LD_PRELOAD=/x.so' >"$tree/etc/default/haproxy"
    check 'a file that would win' refuses 1 "$tree/etc/default/haproxy sets LD_PRELOAD, .*" on haproxy
    unit many@ /srv/many EnvironmentFile=-/etc/default/%i
    check "by an instance's name" refuses 1 "$tree/etc/default/haproxy sets LD_PRELOAD, .*" on many@haproxy
    check_unset
    check_later_drop_ins
    check_foreign_files
}

# systemd unsets variables last, wherever a unit says so
check_unset() {
    local folder=$tree/$units/unset.service.d file
    unit unset /srv/x 'UnsetEnvironment=A "SESSCACHE_STORE"'
    check 'the unit unsets a variable' refuses 1 'unset.service has UnsetEnvironment=SESSCACHE_STORE, .*' on unset
    mkdir "$folder"
    for file in a zz; do
        printf '[Service]\nUnsetEnvironment=\nUnsetEnvironment=LD_PRELOAD\n' >"$folder/$file.conf"
        check "$file.conf unsets it" refuses 1 'unset.service has UnsetEnvironment=LD_PRELOAD, .*' on unset
        printf '[Service]\nUnsetEnvironment=\nUnsetEnvironment=LD_PRELOAD=/x\n' >"$folder/$file.conf"
        check "$file.conf unsets another value of it" on unset
        off unset >/dev/null
        rm "$folder/$file.conf"
    done
    rm -r "$folder"
}

# systemd reads drop-ins by name: one behind ours must not take the library away, one before it cannot
check_later_drop_ins() {
    local folder=$tree/$units/dovecot.service.d line
    mkdir "$folder"
    for line in Environment=LD_PRELOAD=/x.so Environment=; do
        printf '[Service]\n%s\n' "$line" >"$folder/zz.conf"
        check "$line behind ours" refuses 1 \
            "$folder/zz.conf has $line, and systemd reads it after sesscache.conf, so it would win; .*" on dovecot
    done
    rm "$folder/zz.conf"
    printf '[Service]\nEnvironment=LD_PRELOAD=/x.so SESSCACHE_TICKETS=off\n' >"$folder/override.conf"
    on dovecot >"$work/told"
    check 'LD_PRELOAD before ours: ours has both' grep -qx 'Environment=LD_PRELOAD=.*libsesscache.so.0:/x.so' \
        "$folder/sesscache.conf"
    check "another variable before ours: ours leaves it alone" fails grep -q TICKETS "$folder/sesscache.conf"
    off dovecot >/dev/null
    rm -r "$folder"
    # An allocator for all services.
    mkdir "$tree/$units/service.d"
    printf '[Service]\nEnvironment=LD_PRELOAD=/malloc.so\n' >"$tree/$units/service.d/10-malloc.conf"
    on dovecot >/dev/null
    check 'LD_PRELOAD of all services: ours has both' grep -qx 'Environment=LD_PRELOAD=.*libsesscache.so.0:/malloc.so' \
        "$folder/sesscache.conf"
    off dovecot >/dev/null
    rm -r "$tree/$units/service.d"
}

# Files of others are not touched, and a run that fails leaves nothing
check_foreign_files() {
    echo '# mine' >"$tree/etc/nginx/modules-enabled/90-sesscache.conf"
    check 'a file of somebody else' refuses 1 "$tree/.*/90-sesscache.conf was not written by .*" on nginx
    check 'disable leaves it, too' refuses 1 "$tree/.*/90-sesscache.conf was not written by .*" off nginx
    rm "$tree/etc/nginx/modules-enabled/90-sesscache.conf"
    ln -s /etc/passwd "$tree/etc/nginx/modules-enabled/90-sesscache.conf"
    check 'a link' refuses 1 "$tree/.*/90-sesscache.conf was not written by .*" on nginx
    rm "$tree/etc/nginx/modules-enabled/90-sesscache.conf"
    mkdir "$tree/$units/nginx.service.d"
    echo '[Service]' >"$tree/$units/nginx.service.d/sesscache.conf"
    check "somebody else's drop-in" refuses 1 "$tree/.*/sesscache.conf was not written by .*" on nginx
    rm -r "$tree/$units/nginx.service.d"
    printf 'import_environment = TZ\n' >"$tree/etc/postfix/main.cf"
    check "Postfix's own list" refuses 1 "$tree/etc/postfix/main.cf sets import_environment already; .*: LD_PRELOAD .*" \
        on postfix
    : >"$tree/etc/dovecot/dovecot.conf"
    check 'Dovecot without conf.d' refuses 1 '.*/dovecot.conf does not include conf.d/.*; add to it, .*' on dovecot
    mkdir -m 700 "$tree/etc/sesscache"
    check 'a key out of reach' refuses 1 "web cannot reach .*/web.key; mend it: chmod 711 $tree/etc/sesscache" on web
    "$command" keygen "$tree/etc/sesscache/apache.key" >/dev/null
    on apache >/dev/null
    check 'a key that was there stays' bash -c "'$command' disable --root '$tree' apache |
        grep -q '/apache.key stays: it was there before'"
    check 'it is there' test -s "$tree/etc/sesscache/apache.key"
    chmod 644 "$tree/etc/sesscache/apache.key"
    check 'a key that others can read' refuses 1 '.*/apache.key is open to other users .*' on apache
}

check_servers
check_namespaces
check_two
check_units
check_refusals
finish enable
