#!/usr/bin/env bash
# Nothing that stock resumes within one process is lost, whatever is configured, and no handshake
# fails that succeeds on stock: servers made by chance (store_own/scenarios.c), on both.
# TEST_SCENARIOS: how many.
source "$(dirname "$0")/script.bash"

count=${TEST_SCENARIOS:-600}
"$CC" "$ROOT/c-tests/store_own/scenarios.c" "${harness[@]}" -o scenarios "${libraries[@]}" \
    -lssl -lcrypto
for i in {0..31}; do printf '%02x' $((i * 37 % 251)); done >keys
chmod 600 keys

./scenarios "$count" >stock 2>stock.err || fail "on stock: $(tail -n 3 stock.err)"
TEST_NO_TICKETS=1 ./scenarios "$count" >stock_no_tickets 2>stock.err ||
    fail "on stock without tickets: $(tail -n 3 stock.err)"
resumed=$(grep -c ': 0 1 1$' stock) || true
note "$resumed of $count resume twice on stock"
[ "$resumed" -ge $((count / 4)) ] || fail "too few scenarios resume on stock: $resumed"

# The three values of a line: each that is 1 on stock is 1 on ours; 0 becomes no failure, and a
# failure no resumption.
cat >compare.awk <<'AWK'
{ at = match($0, /: -?[0-9]+ -?[0-9]+ -?[0-9]+$/); name = substr($0, 1, at - 1) }
{ split(substr($0, at + 2), value, " ") }
FNR == NR { for (i in value) stock[name, i] = value[i]; next }
{
    lines++
    for (i in value) {
        was = stock[name, i]
        # A session that did not resume is followed by others.
        if (was == "" || (was == 1 && value[i] != 1) || (was == 0 && value[i] == -1) ||
            (was == -1 && value[i] == 1)) {
            print name ": step " i ", stock " was ", ours " value[i]
            bad++
        }
        more += was == 0 && value[i] == 1
    }
}
END { print lines + 0, bad + 0, more + 0 >"summary" }
AWK

# on_ours STOCK SETTING...: memory and store say which store there is, keys that there
# is a key file.
on_ours() {
    local stock=$1 settings=("SESSCACHE_LOG=$PWD/log") lines bad more
    shift
    for setting; do
        case $setting in
            memory) settings+=("SESSCACHE_STORE=shm:?size=4MiB") ;;
            store) settings+=("SESSCACHE_STORE=file:$PWD/store?size=4MiB") ;;
            keys) settings+=("SESSCACHE_KEY_FILE=$PWD/keys") ;;
            *) settings+=("SESSCACHE_$setting") ;;
        esac
    done
    rm -f store
    env "LD_PRELOAD=$overlay" "${settings[@]}" ./scenarios "$count" >ours 2>ours.err ||
        fail "with $*: $(tail -n 3 ours.err)"
    awk -f compare.awk "$stock" ours >lost
    read -r lines bad more <summary
    expect "with $*: scenarios" "$count" "$lines"
    [ "$bad" = 0 ] || fail "with $*: $bad lost"$'\n'"$(head -n 8 lost)"
    note "with $*: $bad lost of $lines; $more resume that do not on stock"
}

on_ours stock
on_ours stock memory
on_ours stock keys
on_ours stock store keys
on_ours stock store keys NAMESPACE=one
on_ours stock store keys ID_CONTEXT=ours
on_ours stock store keys CLIENT_CERTS=share
on_ours stock store keys CLIENT_CERTS=never
on_ours stock store keys TICKETS=application
on_ours stock_no_tickets store keys TICKETS=off
finish
