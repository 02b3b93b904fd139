"""The write-ahead log: docs/spec/wal.md, *Frames* and *Checking*."""
import struct, zlib

RECORDS_MAX = 1 << 22


def wal_head(content, segment):
    """What checksums start with, and the number of records in the file before; `None` for both if neither copy is whole."""
    for block in content[:2048], content[2048:4096]:
        if block[:8] == b"RVWAL\0\0\1" and len(block) >= 76 and zlib.crc32(block[:72]) == int.from_bytes(block[72:76], "big"):
            if (before := int.from_bytes(block[68:72], "big")) > RECORDS_MAX:
                continue
            if int.from_bytes(block[8:12], "big") == segment:
                return block[20:36] + block[12:20], before, content
            break
    return None, None, content


def scan_wal(content, seed, complete):
    """Number of records, how many of them are lost, and what is damaged."""
    records, lost, damage, pending, at = 0, 0, [], (0, 0, None), 4096

    def sound(crc, place, start, end):
        return zlib.crc32(seed + place + content[start:end]) == crc

    def frame(at):
        if content[at:at + 4] == b"RVF1" and at + 24 <= len(content):
            kind, length, first, count, crc = struct.unpack(">5I", content[at + 4:at + 24])
            fits = kind in (1 << 24, 2 << 24) and 28 + 4 * count <= length <= 160 << 20 and records + pending[0] <= first <= RECORDS_MAX - count
            return (kind >> 24, length, first, count) if fits and sound(crc, struct.pack(">Q", at), at, at + 20) else None

    def group(at, length, first, count):
        """Its records, how many are lost, and what is wrong."""
        end, stop, bad = at + 28 + 4 * count, min(at + length, len(content)), 0
        if end > len(content) or not sound(int.from_bytes(content[end - 4:end], "big"), struct.pack(">Q", at), at, end - 4):
            return count, count, f"at byte {at} the group is cut off or its table damaged"
        for place, size in enumerate(struct.unpack(f">{count}I", content[at + 24:end - 4]), first):
            crc = int.from_bytes(content[end + size - 4:end + size], "big")
            bad += not (size >= 4 and end + size <= stop and sound(crc, struct.pack(">I", place), end, end + size - 4))
            end += size
        return count, bad, f"at byte {at} {bad} of {count} records are damaged" if bad else None

    def settle():
        nonlocal records, lost, pending
        records, lost, damage[len(damage):] = records + pending[0], lost + pending[1], [pending[2]] if pending[2] else []
        pending = (0, 0, None)

    while at < len(content):
        if not (found := frame(at)):
            further = content.find(b"RVF1", at + 1)
            while further >= 0 and not frame(further):
                further = content.find(b"RVF1", further + 1)
            if further < 0:
                break
            settle()
            damage.append(f"at byte {at} {further - at} bytes are not what was written")
            at = further
            continue
        settle()
        kind, length, first, count = found
        if first > records:
            damage.append(f"a frame before byte {at} is missing")
            records, lost = first, lost + first - records
        pending = group(at, length, first, count) if kind == 1 else pending
        at += length
    if records < complete if complete is not None else not pending[2]:
        settle()
    if complete is not None and complete > records:
        damage.append(f"it ends at record {records}, the next file says {complete}")
        records, lost = complete, lost + complete - records
    return records, lost, damage
