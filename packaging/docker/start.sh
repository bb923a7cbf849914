#!/bin/sh
# Starts a server with the library, and reloads it (SIGHUP) when its key file is another one.
#
#   start.sh COMMAND...
#
#   SESSCACHE_STORE      file:/sessions/store/nginx, for example. The folder is made, for this user alone,
#                        because others may write to a volume such as an emptyDir. With share=group in its
#                        parameters the group may enter it: an agent that runs as another user
#   SESSCACHE_KEY_FILE   /keys/key, for example, as a Secret is mounted
#   KEY_SECONDS          how often to look at it (10)
set -eu

store=${SESSCACHE_STORE:-}
case $store in
    file:/*)
        folder=${store#file:} folder=${folder%%\?*} folder=${folder%/*}
        mode=u=rwx,go=
        case $store in *[?\&]share=group*) mode=u=rwx,g=rx,o= ;; esac
        [ -d "$folder" ] || mkdir -m "$mode" "$folder"
        ;;
esac
key=${SESSCACHE_KEY_FILE:-}
if [ -n "$key" ]; then
    was=$(cksum <"$key")
    # The shell's pid is the server's after exec.
    while sleep "${KEY_SECONDS:-10}"; do
        now=$(cksum <"$key" 2>/dev/null) || continue
        [ "$now" = "$was" ] || kill -HUP $$
        was=$now
    done &
fi
exec sesscache run -- "$@"
