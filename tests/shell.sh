# Checks and their count, for the tests of this folder that are shell scripts. Sourced first: it goes
# to the root of the repository and makes the folder $work, which is removed at the end.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
work=$(mktemp -d)
passed=0 failed=0 skipped=0

# A script that leaves something outside of $work has its own.
clean_up() { :; }

leave() {
    clean_up
    wait
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 1' INT TERM

# check WHAT COMMAND...: counts whether the command succeeds, and shows what it said if not
check() {
    local what=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s\n' "$what"
        sed 's/^/     /' "$work/said"
    fi
}

# skip WHAT WHY
skip() {
    skipped=$((skipped + 1))
    printf 'skipped %s: %s\n' "$1" "$2"
}

same() {
    [[ $1 == "$2" ]] || {
        printf 'expected: %s\nfound:    %s\n' "$1" "$2"
        return 1
    }
}

# finish NAME: the closing line and the exit status
finish() {
    printf '%s: %d passed, %d failed, %d skipped\n' "$1" "$passed" "$failed" "$skipped"
    if ((failed)); then
        printf 'again: tests/%s\n' "${0##*/}"
        exit 1
    fi
}
