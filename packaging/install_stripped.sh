#!/bin/sh
# install_stripped.sh BUILT INSTALLED: installs a program or a library without its symbols and debug
# information. These go to a file in the folder .debug beside it, where gdb, perf and valgrind look. Needs
# binutils; without them the file is installed as it was built.
set -eu
built=$1 installed=$2
objcopy=${OBJCOPY:-objcopy}
folder=$(dirname "$installed")
debug=$folder/.debug/$(basename "$installed").debug

install -d "$folder"
if ! command -v "$objcopy" >/dev/null; then
    echo "install: there is no $objcopy (package binutils): $installed keeps its debug information" >&2
    exec install -m 755 "$built" "$installed"
fi
install -d "$folder/.debug"
"$objcopy" --only-keep-debug "$built" "$debug"
chmod 644 "$debug"
# Beside it first, so that a library in use is replaced in one step and never cut short.
trap 'rm -f "$installed.new"' EXIT
"$objcopy" --strip-all "--add-gnu-debuglink=$debug" "$built" "$installed.new"
chmod 755 "$installed.new"
mv -f "$installed.new" "$installed"
