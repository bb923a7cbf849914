#!/usr/bin/env bash
# Runs each test program on stock OpenSSL, with libsesscache preloaded, and linked with it; compares
# what they report (compare.awk, differences.txt) and proves each time which of the two ran.
#
#   c-tests/run.sh [--valgrind|--asan|--tsan] [--upstream] [--way stock|preload|link] [-v] [NAME...]
#
#   --upstream       on a libssl built as upstream does, with -Bsymbolic (upstream/build.sh)
#   LIBDIR           where libsesscache.so is (target/release)
#   BUILD            where programs and results go (target/c-tests)
#   PATIENCE         on a slow machine: so many times the minutes after which a test hangs (1)
#   OPENSSL_LIBDIR   another OpenSSL's libraries, OPENSSL_INCDIR its headers (colon-separated)
#
# Beside NAME.c there may be: NAME.env (environment, one VARIABLE=value a line); NAME.plugin.c (a
# module that is linked with libssl, its path in SESSCACHE_TEST_PLUGIN); NAME.build (sets CFLAGS,
# LIBS, HARNESS=no, WAYS, PROOF=no). NAME.sh is a test that is a script and runs once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

die() { echo "run.sh: $*" >&2; exit 1; }

mode=plain upstream=no verbose=no ways="stock preload link" names=()
while [ $# -gt 0 ]; do
    case $1 in
        --valgrind | --asan | --tsan) mode=${1#--} ;;
        --upstream) upstream=yes ;;
        --way) shift; ways=$([ "$1" = stock ] && echo stock || echo "stock $1") ;;
        -v) verbose=yes ;;
        -*) die "no such option: $1" ;;
        *) names+=("$1") ;;
    esac
    shift
done

# The developer's own settings must not change a test.
for variable in ${!SESSCACHE_@}; do unset "$variable"; done
unset LD_PRELOAD MALLOC_PERTURB_
export OPENSSL_CONF=/dev/null LC_ALL=C

if [ $upstream = yes ]; then
    places=$("$here/upstream/build.sh") || die "no upstream libssl"
    while IFS='=' read -r variable value; do declare "$variable=$value"; done <<<"$places"
fi
libdir=$(realpath -m "${LIBDIR:-$root/target/release}")
openssl_libdir=${OPENSSL_LIBDIR:-}
openssl_incdir=${OPENSSL_INCDIR:-}
cc=${CC:-gcc}

case $mode in asan | tsan) flavour=$mode ;; *) flavour=plain ;; esac
if [ -n "$openssl_libdir" ]; then
    flavour+="-$(cd "$openssl_libdir" && pwd | md5sum | cut -c1-8)"
fi
dir=$(realpath -m "${BUILD:-$root/target/c-tests}")/$flavour
mkdir -p "$dir"
# A folder of its own for each run, so that two can run at once (builds end with a rename).
results=$(mktemp -d "$dir/run.XXXXXX")
trap 'rm -rf "$results"' EXIT

cflags=(-std=c11 -D_GNU_SOURCE -DOPENSSL_SUPPRESS_DEPRECATED -Wall -Wextra -Werror -g -O1
    "-I$here" "-I$root/include")
ldflags=()
library_path=$results/lib
if [ -n "$openssl_incdir" ]; then
    IFS=: read -ra folders <<<"$openssl_incdir"
    for folder in "${folders[@]}"; do cflags+=("-I$folder"); done
fi
if [ -n "$openssl_libdir" ]; then
    ldflags+=("-L$openssl_libdir")
    library_path+=:$openssl_libdir
fi
preloaded=$results/lib/libsesscache.so.0
sanitizer_library=
if [ "$mode" = asan ]; then
    cflags+=(-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    sanitizer_library=$("$cc" -print-file-name=libasan.so)
elif [ "$mode" = tsan ]; then
    # The library is instrumented too (make tsan); -rdynamic shows it what faulty/tsan.c defines.
    cflags+=(-fsanitize=thread -rdynamic)
    sanitizer_library=$("$cc" -print-file-name=libtsan.so)
    # OpenSSL is not instrumented: the atomics of its reference counts, by which the last user of an
    # object comes after all others, are not seen.
    printf '%s\n' called_from_lib:libssl.so called_from_lib:libcrypto.so \
        'race:^drop_in_place<sesscache::openssl::handle::Session>$' \
        'race:^drop_in_place<sesscache::openssl::kept::Kept>$' >"$dir/tsan.supp"
fi

# A folder with the library under the names that linking and loading ask for.
mkdir "$results/lib"
if [ "$ways" != stock ]; then
    [ -f "$libdir/libsesscache.so" ] || die "no $libdir/libsesscache.so: run make first"
    for name in libsesscache.so libsesscache.so.0; do
        ln -s "$libdir/libsesscache.so" "$results/lib/$name"
    done
fi

# ---- building ------------------------------------------------------------------------------------

# is_stale OUTPUT INPUT...: older than an input, or than what the compiler said it read.
is_stale() {
    local output=$1 input
    shift
    [ -e "$output" ] && [ -e "$output.d" ] || return 0
    for input in "$@" $(sed -e 's/^[^:]*: //' -e 's/\\$//' "$output.d") "${BASH_SOURCE[0]}"; do
        if [ "$input" -nt "$output" ]; then return 0; fi
    done
    return 1
}

# compile OUTPUT WORDS...: under another name first, since another run may be using it.
compile() {
    local output=$1
    local unfinished
    unfinished=$results/$(basename "$output")
    shift
    "$cc" "${cflags[@]}" -MMD -MF "$unfinished.d" -MT out "$@" -o "$unfinished" &&
        mv "$unfinished.d" "$output.d" && mv "$unfinished" "$output"
}

build_object() {
    ! is_stale "$dir/$1.o" || compile "$dir/$1.o" -c "$here/$1.c"
}

# build NAME WAY: after the settings of NAME.build, in whose subshell it runs.
build() {
    local name=$1 way=$2 output=$dir/$1.$2 objects=("$dir/proof.o") libraries=()
    [ "$HARNESS" = no ] || objects+=("$dir"/harness*.o)
    [ "$mode" != tsan ] || objects+=("$dir/tsan.o")
    [ "$way" = stock ] || libraries+=("-L$results/lib" -lsesscache)
    if [ -f "$here/$name.plugin.c" ] && is_stale "$dir/$name.plugin.so"; then
        compile "$dir/$name.plugin.so" -shared -fPIC "$here/$name.plugin.c" "${ldflags[@]}" \
            -lssl -lcrypto || return 1
    fi
    # shellcheck disable=SC2086  # CFLAGS and LIBS are lists of words
    if is_stale "$output" "$here/$name.build" "${objects[@]}"; then
        compile "$output" $CFLAGS "$here/$name.c" "${objects[@]}" \
            "${ldflags[@]}" "${libraries[@]}" $LIBS
    fi
}

# ---- running -------------------------------------------------------------------------------------

# run_under WAY RESULT [VARIABLE=value...] PROGRAM: a sanitizer's complaints go to RESULT.faults*.
run_under() {
    local way=$1 result=$2 program=${*: -1} limit=180 under=() variables options
    variables=("${@:3:$#-3}" "LD_LIBRARY_PATH=$library_path")
    case $mode in
        valgrind)
            limit=600
            under=(valgrind --leak-check=full --errors-for-leak-kinds=definite
                --show-leak-kinds=definite --error-exitcode=99 "--log-file=$result.faults") ;;
        asan)
            options=detect_leaks=1:detect_stack_use_after_return=1:exitcode=98
            variables+=("ASAN_OPTIONS=$options:log_path=$result.faults"
                "UBSAN_OPTIONS=print_stacktrace=1:log_path=$result.faults") ;;
        tsan)
            limit=300
            variables+=("TSAN_OPTIONS=exitcode=97:log_path=$result.faults:suppressions=$dir/tsan.supp") ;;
    esac
    [ "$way" != preload ] ||
        variables+=("LD_PRELOAD=${sanitizer_library:+$sanitizer_library }$preloaded")
    timeout -k 5 "$((limit * ${PATIENCE:-1}))" env "${variables[@]}" "${under[@]}" "$program" \
        </dev/null >"$result.out" 2>"$result.err"
}

# Prints what a sanitizer found; 0 if it found something.
faults() {
    local file found=1
    for file in "$1".faults*; do
        [ -e "$file" ] || continue
        if [ "$mode" = valgrind ] && ! grep -q 'ERROR SUMMARY: [1-9]' "$file"; then continue; fi
        cat "$file"
        found=0
    done
    return $found
}

# run NAME WAY: leaves RESULT.out, .err, .proof, .status.
run() {
    local name=$1 way=$2 result=$results/$1.$2 program variables=() status=0
    program=$dir/$name.$([ "$way" = link ] && echo link || echo stock)
    [ ! -f "$here/$name.env" ] ||
        mapfile -t variables < <(grep -v -e '^#' -e '^$' "$here/$name.env")
    mkdir "$result.dir"
    # 2>/dev/null is for the shell, which would announce a program that crashed.
    (cd "$result.dir" && run_under "$way" "$result" "${variables[@]}" "TMPDIR=$result.dir" \
        "SESSCACHE_TEST_WAY=$way" "SESSCACHE_TEST_PROOF=$result.proof" \
        "SESSCACHE_TEST_PLUGIN=$dir/$name.plugin.so" "$program") 2>/dev/null || status=$?
    echo $status >"$result.status"
}

# ---- judging -------------------------------------------------------------------------------------

# Says what is wrong with a run, if anything; 0 passed, 1 failed, 77 skipped.
judge() {
    local name=$1 way=$2 result=$results/$1.$2 status expected=in
    status=$(<"$result.status")
    [ "$way" != stock ] || expected=out
    if faults "$result"; then return 1; fi
    if [ "$PROOF" != no ] && [ "$(sort -u "$result.proof" 2>/dev/null)" != $expected ]; then
        echo "  the overlay must be $expected in this way, the proof says:" \
            "$(sort -u "$result.proof" 2>/dev/null || echo nothing)"
        return 1
    fi
    case $status in
        0) ;;
        77) grep '^# skipped' "$result.out"; return 77 ;;
        124 | 137) echo "  stopped: out of time"; return 1 ;;
        *) echo "  ended with $status"; return 1 ;;
    esac
    # A test without meaning on stock is compared with nothing.
    case " $WAYS " in *" stock "*) ;; *) return 0 ;; esac
    [ "$way" = stock ] || [ "$(<"$results/$name.stock.status")" = 77 ] ||
        awk -f "$here/compare.awk" -v "test=$name" -v "libssl=$libssl" \
            part=listed "$here/differences.txt" part=stock "$results/$name.stock.out" \
            part=ours "$result.out" | sort
}

# test_program NAME: one line a way in RESULTS/NAME.verdicts, the story in RESULTS/NAME.story.
test_program() (
    name=$1 CFLAGS='' LIBS="-lssl -lcrypto" HARNESS=yes WAYS="stock preload link" PROOF=yes
    # shellcheck disable=SC1090
    [ ! -f "$here/$name.build" ] || . "$here/$name.build"
    for way in $ways; do
        case " $WAYS " in *" $way "*) ;; *) continue ;; esac
        verdict=passed story=
        # The library is preloaded into the program that stock runs.
        if story=$(build "$name" "${way/preload/stock}" 2>&1); then
            run "$name" "$way"
            story=$(judge "$name" "$way") || verdict=$([ $? = 77 ] && echo skipped || echo failed)
        else
            verdict=failed
        fi
        echo "$verdict $way" >>"$results/$name.verdicts"
        if [ "$verdict" != passed ]; then
            printf '%s\n' "$name on $way: $verdict" "$story"
            [ "$verdict" = skipped ] || cat "$results/$name.$way.err" 2>/dev/null || true
        fi >>"$results/$name.story"
    done
)

# A test that is a script: exit status 0, 1 or 77; it reads the variables given here.
test_script() (
    name=$1 status=0 limit=300
    mkdir "$results/$name.dir"
    cd "$results/$name.dir"
    LIBDIR=$results/lib LD_LIBRARY_PATH=$library_path CC=$cc ROOT=$root OPENSSL_LIBDIR=$openssl_libdir \
        OPENSSL_INCDIR=$openssl_incdir MODE=$mode timeout -k 5 $limit "$here/$name.sh" </dev/null \
        >"$results/$name.out" 2>&1 || status=$?
    case $status in 0) verdict=passed ;; 77) verdict=skipped ;; *) verdict=failed ;; esac
    echo "$verdict script" >"$results/$name.verdicts"
    [ $verdict = passed ] ||
        { echo "$name: $verdict"; cat "$results/$name.out"; } >"$results/$name.story"
)

# A fault made on purpose must be seen in every way, or the sanitizer is not on.
prove_sanitizer() {
    local fault way sign faults="leak after_free" parts=("$here/faulty/faulty.c")
    [ "$mode" != tsan ] || { faults=race; parts+=("$here/faulty/tsan.c"); }
    "$cc" "${cflags[@]}" "${parts[@]}" -o "$results/faulty" -pthread
    for way in $ways; do
        for fault in $faults; do
            case $mode-$fault in
                valgrind-leak) sign='definitely lost: 100 bytes' ;;
                valgrind-after_free) sign='Invalid read of size 1' ;;
                asan-leak) sign='Direct leak of 100 byte' ;;
                asan-after_free) sign='heap-use-after-free' ;;
                tsan-race) sign='data race' ;;
            esac
            run_under "$way" "$results/faulty.$way.$fault" "FAULT=$fault" "$results/faulty" || true
            faults "$results/faulty.$way.$fault" | grep -q "$sign" ||
                die "$mode does not see a $fault on $way: nothing is proven"
        done
    done
    echo "# $mode sees what it is there for ($faults) in: $ways"
}

# again NAME: the command that runs this test again, with this library, libssl and mode.
again() {
    local name=$1 on=() line=
    [ $upstream = no ] || on+=(upstream)
    case $mode in asan | valgrind) on+=("$mode") ;; esac
    if [ $upstream = no ] && [ -n "$openssl_libdir" ]; then
        line="OPENSSL_LIBDIR=$openssl_libdir OPENSSL_INCDIR=$openssl_incdir "
    fi
    case $mode-$libdir in
        tsan-*) line+="make tsan T=$name" ;;
        *"-$root/target/edit") line+="make t T=$name" ;;
        *"-$root/target/release") line+="make t T=$name PROFILE=release" ;;
        *) line+="LIBDIR=$libdir c-tests/run.sh -v $name${on[*]:+ ${on[*]/#/--}}" on=() ;;
    esac
    case ${#on[@]} in 0) ;; 1) line+=" ON=${on[*]}" ;; *) line+=" ON='${on[*]}'" ;; esac
    echo "    again: $line"
}

# ---- everything ----------------------------------------------------------------------------------

if [ ${#names[@]} = 0 ]; then
    for file in "$here"/*.c "$here"/*.sh; do
        name=$(basename "${file%.*}")
        case $name in harness* | proof | run | *.plugin) ;; *) names+=("$name") ;; esac
    done
fi
for name in "${names[@]}"; do
    [ -f "$here/$name.c" ] || [ -f "$here/$name.sh" ] || die "no such test: $name"
done
while IFS='|' read -r name _; do
    name=${name// /}
    case $name in '' | '#'*) continue ;; esac
    [ -f "$here/$name.c" ] || die "differences.txt names a test that does not exist: $name"
done <"$here/differences.txt"

for object in harness{,_tls,_sessions,_store,_workers,_admission,_rules,_tickets} proof; do
    build_object $object
done
[ $mode != tsan ] || compile "$dir/tsan.o" -c "$here/faulty/tsan.c"
# Without a sanitizer, which would catch the crash that is asked for.
"$cc" "${cflags[@]}" -fno-sanitize=all "$here/behaviours/behaviours.c" -o "$results/behaviours" \
    "${ldflags[@]}" -lssl -lcrypto
libssl=$(LD_LIBRARY_PATH=$library_path "$results/behaviours" 2>"$results/version.txt") ||
    die "libssl does not answer: $(<"$results/version.txt")"
echo "# $(<"$results/version.txt"): $libssl"
[ "$mode" = plain ] || prove_sanitizer

for name in "${names[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
    if [ -f "$here/$name.c" ]; then test_program "$name" & else test_script "$name" & fi
done
wait

# report NAME: its verdicts, and the story of those that are not "passed".
report() {
    echo "$1: $(tr '\n' ',' <"$results/$1.verdicts" | sed 's/,$//; s/,/, /g')"
    [ ! -s "$results/$1.story" ] || sed 's/^/    /' "$results/$1.story"
    [ $verbose = no ] || cat "$results/$1".*out
}

passed=0 failed=0 skipped=0 red=()
for name in "${names[@]}"; do
    # A test that left no verdict never ran: that is a failure of the runner, and must not pass.
    [ -s "$results/$name.verdicts" ] || echo "failed runner" >"$results/$name.verdicts"
    while read -r verdict _; do
        case $verdict in
            passed) passed=$((passed + 1)) ;;
            skipped) skipped=$((skipped + 1)) ;;
            *) failed=$((failed + 1)) ;;
        esac
    done <"$results/$name.verdicts"
    if grep -q '^failed' "$results/$name.verdicts"; then red+=("$name"); else report "$name"; fi
done
# Last, where one looks in a log of a thousand lines.
for name in "${red[@]}"; do
    report "$name"
    again "$name"
done
echo "c-tests: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
