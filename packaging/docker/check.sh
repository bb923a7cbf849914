#!/bin/sh
# Says in one line if this image cannot load what was built for glibc. Alpine's has musl, whose shell
# would only say that the command was not found.
set -u
if said=$(sesscache --version 2>&1); then
    exit 0
fi
for musl in /lib/ld-musl-*; do
    [ ! -e "$musl" ] || said="its C library is musl, as Alpine's; take an image of Debian"
done
echo "sesscache cannot be used in this image: $(echo "$said" | head -n 1)" >&2
exit 1
