#!/usr/bin/env bash
# The ways into Redis: one agent comes through its unix socket, the other by TLS, as a user who may
# do no more than an agent must.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly password=correct-horse
may_do=(+ping +time +xadd +xread +xrange +xlen "+xinfo|stream")

# An authority, and a certificate of Redis's address from it.
make_redis_certificate() {
    local new=(openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    "${new[@]}" -x509 -days 2 -subj /CN=authority -keyout "$work/ca_key.pem" -out "$work/ca.pem"
    "${new[@]}" -subj /CN=redis -keyout "$work/redis_key.pem" -out "$work/redis.csr"
    openssl x509 -req -in "$work/redis.csr" -CA "$work/ca.pem" -CAkey "$work/ca_key.pem" \
        -CAcreateserial -days 2 -extfile <(echo "subjectAltName=IP:$redis_address") \
        -out "$work/redis.pem"
}

make_fleet
make_redis_certificate 2>"$work/redis_certificate.log"
engine_options=(--unixsocket "$work/run/redis.sock" --tls-port 6380 --tls-auth-clients no
    --tls-cert-file "$work/redis.pem" --tls-key-file "$work/redis_key.pem"
    --tls-ca-cert-file "$work/ca.pem")
start_redis
redis acl setuser agent on ">$password" resetkeys '~sesscache:*' resetchannels -@all \
    "${may_do[@]}" >"$work/redis-cli.log"
echo "$password" >"$work/password"
chmod 600 "$work/password"

redis_url=unix://$work/run/redis.sock
add_hosts a
redis_url=rediss://$redis_address:6380
agent_options=(--tls-ca "$work/ca.pem" --user agent --password-file "$work/password")
add_hosts b
for kind in "${by_id[@]}"; do
    save a "$kind" "$tries"
    save b "$kind" "$tries"
    check "unix socket to TLS, $kind: a's sessions resume on b" come_to_resume a "$kind" b
    check "TLS to unix socket, $kind: b's sessions resume on a" come_to_resume b "$kind" a
done
redis acl setuser agent -xadd >>"$work/redis-cli.log"
save b "1.3 stateful" "$tries"
check "the user may not write any more: b's sessions resume on b" all_resume b "1.3 stateful" b
redis acl setuser agent +xadd >>"$work/redis-cli.log"
check "the user may write again: b's sessions resume on a" come_to_resume b "1.3 stateful" a
echo "agents through a unix socket and through TLS with a user who may: ${may_do[*]}"
check_health
