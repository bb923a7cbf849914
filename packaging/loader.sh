#!/usr/bin/env bash
# Sees to it that the loader finds a library that was just installed, or says what is left to do.
#
#   packaging/loader.sh FOLDER
set -euo pipefail

folder=$1 ldconfig=$(PATH=$PATH:/usr/sbin:/sbin command -v ldconfig || true)

# Whether ldconfig looks into the folder by itself. -N and -X change nothing.
is_searched() { "$ldconfig" -v -N -X 2>/dev/null | grep -q "^$folder:"; }

if [ -z "$ldconfig" ]; then
    echo "no ldconfig here: a program that is linked with the library finds it by LD_LIBRARY_PATH=$folder"
elif ! is_searched; then
    echo "next: echo $folder > /etc/ld.so.conf.d/sesscache.conf && ldconfig"
elif [ "$(id -u)" = 0 ]; then
    "$ldconfig"
else
    echo 'next, as root: ldconfig'
fi
