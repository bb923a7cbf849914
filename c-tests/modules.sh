#!/usr/bin/env bash
# Fact 2, with the programs it was seen in: python3 and perl, whose modules bring libssl in with
# RTLD_LOCAL. The library is preloaded; the same script on stock prints the same, but for the lines
# that prove whose cache it was.
source "$(dirname "$0")/script.bash"
here=$ROOT/c-tests/modules

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 30 \
    -keyout key.pem -out certificate.pem -config /dev/stdin <<<$'[req]\ndistinguished_name=n\n[n]' \
    2>errors || { cat errors; exit 1; }

# both NAME COMMAND...: leaves NAME.stock and NAME.ours.
both() {
    local name=$1
    shift
    "$@" >"$name.stock" 2>&1 || { fail "$name fails on stock:"; cat "$name.stock"; }
    LD_PRELOAD=$overlay "$@" >"$name.ours" 2>&1 || { fail "$name fails:"; cat "$name.ours"; }
}

tried=0
for python in /usr/bin/python3 python3; do
    if ! "$python" -c 'import ssl' 2>/dev/null; then
        note "$python has no ssl here"
        continue
    fi
    both python "$python" "$here/life.py"
    expect "active on stock" "active: None None" "$(grep ^active python.stock)"
    expect "active" "active: 1 1" "$(grep ^active python.ours)"
    expect "resumptions" 2 "$(grep -c '^resumed: True' python.ours)"
    diff <(grep -v ^active python.stock) <(grep -v ^active python.ours) ||
        fail "$python says something else than on stock"
    tried=$((tried + 1))
done

if perl -MNet::SSLeay -e 'exit !defined &Net::SSLeay::CTX_sess_set_new_cb' 2>/dev/null; then
    both perl perl "$here/life.pl"
    expect "declined on stock" "declined: 1 (new)" "$(grep ^declined perl.stock)"
    expect "resumptions" 1 "$(grep -c '^resumed: 1' perl.ours)"
    diff perl.stock perl.ours || fail "perl says something else than on stock"
    # With the manual's rule the line `declined` tells the two apart.
    SESSCACHE_NEW_CB_ZERO=remove both perl perl "$here/life.pl"
    expect "declined" "declined: 0 (new)" "$(grep ^declined perl.ours)"
    diff <(grep -v ^declined perl.stock) <(grep -v ^declined perl.ours) ||
        fail "perl says something else than on stock"
    tried=$((tried + 1))
else
    note "perl has no Net::SSLeay with session callbacks here"
fi
[ $tried -gt 0 ] || skip "neither python3 with ssl nor perl with Net::SSLeay"
finish
