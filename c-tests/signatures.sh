#!/usr/bin/env bash
# The header: it compiles alone and beside <openssl/ssl.h> in either order, as C99, C11, C17 and
# C++17, without a warning; a callback of a wrong type does not; SESSCACHE_OLD_GET_CB takes code of
# the age of OpenSSL 1.0.2. And each exported function has OpenSSL's own prototype.
source "$(dirname "$0")/script.bash"
here=$ROOT/c-tests/signatures

strict=(-Wall -Wextra -Wpedantic -Werror -DOPENSSL_SUPPRESS_DEPRECATED "${includes[@]}")

languages=()
for compiler in "$CC" clang; do
    if command -v "$compiler" >/dev/null; then
        for standard in c99 c11 c17; do
            languages+=("$compiler -x c -std=$standard -Wstrict-prototypes")
        done
    else
        note "no $compiler here"
    fi
done
for compiler in g++ clang++; do
    if command -v "$compiler" >/dev/null; then
        languages+=("$compiler -x c++ -std=c++17")
    else
        note "no $compiler here: its C++ is not tried"
    fi
done

# compiles LANGUAGE ARGUMENTS...: the file is the last argument.
compiles() {
    # shellcheck disable=SC2086  # a language is a list of words
    $1 "${strict[@]}" -fsyntax-only "${@:2}" 2>diagnostics
}
must_compile() { compiles "$@" || fail "does not compile: $*:" "$(grep -m 1 error diagnostics)"; }
must_not_compile() { ! compiles "$@" || fail "compiles, and must not: $*"; }

# ---- the header ----------------------------------------------------------------------------------

header='#include <sesscache.h>' openssl='#include <openssl/ssl.h>'
use='int used(const SSL_CTX *ctx);
int used(const SSL_CTX *ctx) { return sesscache_is_active(ctx) + (sesscache_version() != NULL); }'
printf '%s\n' "$header" "$use" >alone.c
printf '%s\n' "$openssl" "$header" "$use" >after.c
printf '%s\n' "$header" "$openssl" "$use" >before.c
printf '%s\n' "$header" "$header" "$use" >twice.c
for language in "${languages[@]}"; do
    for file in alone.c after.c before.c twice.c; do must_compile "$language" "$file"; done
    must_compile "$language" -DWRONG=0 "$here/wrong.c"
    for wrong in 1 2 3 4 5 6; do must_not_compile "$language" -DWRONG=$wrong "$here/wrong.c"; done
    must_compile "$language" "$here/old_get_cb.c"
    # Today's types are wrong there: types are still checked.
    must_not_compile "$language" -DSESSCACHE_OLD_GET_CB -DWRONG=0 "$here/wrong.c"
done

# ---- old code runs -------------------------------------------------------------------------------

"$CC" -DRUN -Wall -Wextra -Werror "$here/old_get_cb.c" "${harness[@]}" -o old_get_cb \
    "-L$LIBDIR" -lsesscache "${libraries[@]}" -lssl -lcrypto 2>diagnostics ||
    fail "old_get_cb.c does not build: $(grep -m 1 error diagnostics)"
./old_get_cb >output || fail "old_get_cb.c fails"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
expect "sesscache_version()" "version: $version" "$(<output)"

# ---- the prototypes ------------------------------------------------------------------------------

python3 "$here/prototypes.py" "$ROOT" >declarations
printf '%s\n' "$openssl" "$header" '#include <time.h>' | cat - declarations >prototypes.c
"$CC" -std=gnu11 "${strict[@]}" -Wno-pedantic -fsyntax-only prototypes.c ||
    fail "a prototype is not OpenSSL's"
expect "the declared functions are the exported ones" \
    "$(nm -D --defined-only "$overlay" | awk '{ print $3 }' | LC_ALL=C sort)" \
    "$(grep -oE '(SSL|CRYPTO|sesscache)_[A-Za-z_0-9]+\(' declarations | tr -d '(' | LC_ALL=C sort)"
# A prototype that is not must be noticed.
sed 's/^int SSL_CTX_add_session(SSL_CTX \*/int SSL_CTX_add_session(SSL */' prototypes.c >changed.c
cmp -s prototypes.c changed.c && fail "nothing was changed"
"$CC" -std=gnu11 "${strict[@]}" -Wno-pedantic -fsyntax-only changed.c 2>/dev/null &&
    fail "a wrong prototype goes unnoticed"
finish
