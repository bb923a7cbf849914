"""Makes another line of OpenSSL of a library: line.py FILE TARGET.

Names of files and versions say 4 where they say 3, as in OpenSSL's next line. Strings keep their length,
and the hashes of the versions' names follow.
"""
import struct
import sys

STRINGS, STRINGS_LENGTH, NEEDS, DEFINITIONS = 5, 10, 0x6FFFFFFE, 0x6FFFFFFC


def elf_hash(name):
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value


def sections(data):
    """(offset in the file, address, size) of each part that is mapped, and the dynamic section."""
    start, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    parts, dynamic = [], None
    for i in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start + i * size)
        if kind == 1:
            parts.append((offset, address, length))
        elif kind == 2:
            dynamic = offset
    return parts, dynamic


def convert(data):
    parts, place = sections(data)
    tags = {}
    while True:
        tag, value = struct.unpack_from("<QQ", data, place)
        if tag == 0:
            break
        tags[tag] = value
        place += 16
    where = lambda address: next(o + address - a for o, a, n in parts if a <= address < a + n)
    strings, length = where(tags[STRINGS]), tags[STRINGS_LENGTH]
    text = bytes(data[strings:strings + length])
    for old, new in ((b"OPENSSL_3.", b"OPENSSL_4."), (b".so.3\0", b".so.4\0")):
        text = text.replace(old, new)
    data[strings:strings + length] = text
    name = lambda offset: text[offset:text.index(b"\0", offset)]
    walk(data, where(tags[NEEDS]), "<HHIII", 3, 4, lambda aux: struct.pack_into(
        "<I", data, aux, elf_hash(name(struct.unpack_from("<I", data, aux + 8)[0]))), 12)
    if DEFINITIONS in tags:
        define(data, where(tags[DEFINITIONS]), name)


def walk(data, place, form, first, following, change, next_of_aux):
    while True:
        entry = struct.unpack_from(form, data, place)
        aux = place + entry[first]
        for _ in range(entry[1]):
            change(aux)
            aux += struct.unpack_from("<I", data, aux + next_of_aux)[0]
        if not entry[following]:
            return
        place += entry[following]


def define(data, place, name):
    while True:
        entry = struct.unpack_from("<HHHHIII", data, place)
        own, = struct.unpack_from("<I", data, place + entry[5])
        struct.pack_into("<I", data, place + 8, elf_hash(name(own)))
        if not entry[6]:
            return
        place += entry[6]


content = bytearray(open(sys.argv[1], "rb").read())
convert(content)
open(sys.argv[2], "wb").write(content)
