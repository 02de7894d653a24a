"""Named data of an ELF shared object (64 bit, little endian), read without loading it.

Layout: System V ABI, "Object Files": section header table, then the dynamic symbol table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from veilcast.errors import ModelCorrupt

DYNAMIC_SYMBOLS = 11  # SHT_DYNSYM
DATA_OBJECT = 1  # STT_OBJECT
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


def read_objects(data: bytes) -> dict[str, bytes]:
    """The bytes of every exported data object that has any, by symbol name. Raises ModelCorrupt."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ModelCorrupt("not a 64-bit little-endian shared object")
    try:
        sections = list(_sections(data))
        return dict(_objects(data, sections))
    except (struct.error, IndexError, ValueError):
        raise ModelCorrupt("shared object does not parse: it is cut short") from None


def _sections(data: bytes) -> Iterator[tuple[int, ...]]:
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    for i in range(count):
        yield _SECTION.unpack_from(data, table + i * size)


def _objects(data: bytes, sections: list[tuple[int, ...]]) -> Iterator[tuple[str, bytes]]:
    for _name, kind, _flags, _address, offset, size, link, *_ in sections:
        if kind != DYNAMIC_SYMBOLS:
            continue
        names = sections[link][4]
        for at in range(offset, offset + size, _SYMBOL.size):
            name, info, _other, section, address, length = _SYMBOL.unpack_from(data, at)
            if info & 15 == DATA_OBJECT and 0 < section < len(sections) and length:
                # the file holds what the section will hold at `address` in memory
                start = address - sections[section][3] + sections[section][4]
                end = data.index(b"\0", names + name)
                yield data[names + name : end].decode("ascii"), data[start : start + length]
