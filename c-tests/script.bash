# Shared by the tests that are scripts; sourced. run.sh sets LIBDIR, ROOT, CC, LD_LIBRARY_PATH,
# OPENSSL_LIBDIR, OPENSSL_INCDIR and MODE (plain, or a sanitizer), and runs a script in an empty folder of its own.
set -euo pipefail

overlay=$LIBDIR/libsesscache.so.0
failures=0

fail() {
    printf '  %s\n' "$*"
    failures=$((failures + 1))
}
skip() {
    echo "# skipped: $*"
    exit 77
}
note() { echo "# $*"; }
finish() { exit $((failures > 0)); }

# expect WHAT WANTED GOT
expect() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }

includes=("-I$ROOT/include")
libraries=()
if [ -n "$OPENSSL_INCDIR" ]; then
    IFS=: read -ra folders <<<"$OPENSSL_INCDIR"
    for folder in "${folders[@]}"; do includes+=("-I$folder"); done
fi
[ -z "$OPENSSL_LIBDIR" ] || libraries+=("-L$OPENSSL_LIBDIR")

# The rest of a compiler's command for a program that uses the harness.
harness=(-std=c11 -D_GNU_SOURCE -DOPENSSL_SUPPRESS_DEPRECATED "-I$ROOT/c-tests" "${includes[@]}"
    "$ROOT"/c-tests/harness*.c "$ROOT/c-tests/proof.c")
