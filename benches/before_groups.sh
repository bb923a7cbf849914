# The groups of `benches/run.sh --before`, which sources this and has the functions it calls.
#
# The store alone, as it was in another commit (BEFORE) and as it is: this bench's program is built with the
# store of each, and the two run in turn.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # run.sh sets and uses them

all_groups="before_operations before_bytes"
results=before

# The program with the store of now, and that with the one of BEFORE, a commit or a folder.
build_before() {
    local old=${BEFORE:?a commit, or a folder with another version} folder
    [ ! -x "$work/store_ours" ] || return 0
    if [ ! -d "$old" ]; then
        folder=$work/old
        mkdir "$folder"
        git -C "$root" archive "$old" | tar -x -C "$folder"
        old=$folder
    fi
    build_with "$root" ours
    build_with "$(realpath "$old")" stock
}

# build_with FOLDER WAY: this program with the core of a folder, by the profile of now.
build_with() {
    local folder=$1 package=$work/package_$2
    mkdir "$package"
    cp "$root/Cargo.lock" "$package"
    {
        printf '[package]\nname = "store"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
        printf '[[bin]]\nname = "store"\npath = "%s"\n' "$here/store/main.rs"
        printf '[dependencies]\nsesscache-core = { path = "%s/core" }\n' "$folder"
        sed -n '/^\[profile.release\]/,/^$/p' "$root/Cargo.toml"
        sed -n '/^\[lints.rust\]/,/^$/p' "$here/Cargo.toml"
    } >"$package/Cargo.toml"
    (cd "$package" && RUSTFLAGS="--cfg alone" \
        "${CARGO:-cargo}" build --release --quiet --target-dir "$build/package_$2")
    cp "$build/package_$2/release/store" "$work/store_$2"
}

# before_pair COMMAND...: adds what the program prints with each library.
before_pair() {
    local way
    for way in stock ours; do
        as_way stock "$work/store_$way" "${@:2}" | sed "s/^ours/$way/; s/store_/before_/" | part "$1"
    done
}

# part NUMBER: adds the lines that come in, of that pair of runs, to the step's.
part() { sed "s/^/$1\t/" >>"$work/part"; }

before_operations() {
    local n number
    build_before
    for n in 10000 100000; do
        step before_operations $n
        for number in $(seq "$repeat"); do
            before_pair "$number" operations $n "$seconds" 1 4
        done
        finish_step
    done
}

# Plain sessions of TLS 1.2 and 1.3, with a client certificate of usual lengths, and with a chain.
before_bytes() {
    build_before
    step before_bytes
    before_pair 1 bytes 64MiB 131 180 538 700 900 1200 5800
    finish_step
}
