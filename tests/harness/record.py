"""The layout of a record, as it lies in stores and streams (docs/STORE.md): for the forgers."""

import struct

# Units of 8 bytes of the whole, kind, flags and padding, deadline, written, locator.
HEAD = struct.Struct("<HBBQQ16s")
UNIT = 8
DEADLINE = slice(4, 12)
LOCATOR = slice(20, 36)
PUT, REMOVAL = 1, 2
