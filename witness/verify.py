#!/usr/bin/env python3
"""Checks a Reeve ledger, or the proof of one record, offline. Written from docs/spec/record.md and docs/spec/wal.md alone.

    verify.py [--key KEY] DIR
    verify.py --key KEY --raw FILE PROOF
    verify.py --batch        one question a line as JSON, {"dir", "key"} or {"proof", "raw" in base64, "key"}; one answer a line

KEY is a verifier key or the file it is in. Faults and verdict are lines of JSON. Exit codes: 0 everything holds, 2 input unusable,
3 usage, 4 something does not hold. Needs the packages cryptography and pyarrow.
"""
import argparse, hmac, json, os, re, struct, sys, zlib

import pyarrow as pa
import pyarrow.parquet as parquet

from c2sp import EARLIEST, LATEST, H, N, T, U64, Bad, Key, checkpoint_of, form, leaf_hash, need, number, root, root_of_path, sha, time, unbase64, utf8

ZERO, WIDTH, U32 = bytes(32), 256, (1 << 32) - 1
TRANSPORTS = {"file": (1, b"B"), "syslog_udp": (2, b"C"), "syslog_tcp": (3, b"C"), "http": (4, b"B"),
              "elastic_bulk": (5, b"B"), "watch": (6, b"B"), "internal": (7, b"A")}
COLUMNS = [("index", pa.uint32(), False), ("raw", pa.binary(), True), ("source", pa.string(), False), ("sequence", pa.uint64(), False),
           ("received_at", pa.timestamp("us", "UTC"), False), ("transport", pa.string(), False),
           ("claimed_at", pa.timestamp("us", "UTC"), True), ("claimed_certainty", pa.uint8(), True),
           ("policy", pa.string(), False), ("previous", pa.binary(32), True)]
STATEMENT = form(f"reeve-batch/v1\norigin ([^\n]*)\nsegment {N}\nepoch {N}\nrecords {N}\nraw_bytes {N}\nreceived {T} {T}\nsealed {T}\n"
                 f"root {H}\nprevious {H}\nsalts {H}\nfile {N} {H}\nmap {N} {H}\n((?:lost {N} {N}\n)*)")
PROOF = form(f"c2sp[.]org/tlog-proof@v1\nextra ([^\n]*)\nindex {N}((?:\n{H}){{0,64}})\n\n((?s:.)*)")
EXTRA = form(f"reeve-record-proof/v1\nleaf ([^\n]*)\nsalt {H}((?:\npath {H}){{0,64}})\nstatement\n((?s:.)*)")
TILE = form(r"tile/([0-7]|entries)((?:/x\d{3})*/\d{3})(?:\.p/([1-9]\d{0,2}))?")


def statement_of(entry):
    found = need(STATEMENT.fullmatch(utf8(entry)), "it is no batch statement").groups()
    s = {"leaf": leaf_hash(entry), "origin": found[0], "segment": number(found[1], U32), "epoch": number(found[2]),
         "records": number(found[3], U32), "raw_bytes": number(found[4]), "received": (time(found[5]), time(found[6])),
         "root": unbase64(found[8]), "previous": unbase64(found[9]), "salts": unbase64(found[10]),
         "file": (number(found[11]), unbase64(found[12])), "map": (number(found[13]), unbase64(found[14]))}
    time(found[7])
    s["lost"] = [(number(first, U32), number(count, U32)) for first, count in re.findall(f"lost {N} {N}\n", found[15])]
    free = 0
    for first, count in s["lost"]:
        need(first >= free and count and first + count <= s["records"], "lost records are not in order")
        free = first + count + 1
    need(s["records"], "a batch has records")
    return s


def leaf_of(data):
    need(len(data) >= 119 and data[:4] == b"RVL1", "it is no leaf")
    segment, index, epoch = struct.unpack(">IIQ", data[4:20])
    received, certainty, claimed, transport, grade, length = struct.unpack(">qBqBcQ", data[60:87])
    need((transport, grade) in TRANSPORTS.values() and certainty <= 4 and (certainty or not claimed), "a field of the leaf is not known")
    need(all(EARLIEST <= at <= LATEST for at in (received, claimed)), "a time is out of range")
    rest = data[119:]
    for _ in "source", "policy":
        size = 2 + int.from_bytes(rest[:2], "big")
        need(2 <= size <= len(rest), "a name is cut off")
        utf8(rest[2:size])
        rest = rest[size:]
    need(not rest, "bytes follow the leaf")
    return segment, index, epoch, length, data[87:119]


def commitment(salt, raw):
    return sha(b"reeve-raw/v1\0", salt, raw)


def verify_proof(proof, raw, key):
    need(len(proof) <= 262144, "it is too long")
    extra, index, path, _, note = need(PROOF.fullmatch(utf8(proof)), "it is no proof").groups()
    leaf, salt, inner, _, s = need(EXTRA.fullmatch(utf8(unbase64(extra))), "its extra is not in its form").groups()
    checkpoint, leaf, s = checkpoint_of(note.encode(), key), unbase64(leaf), statement_of(s.encode())
    path, inner = ([unbase64(each) for each in re.findall(H, text)] for text in (path, inner))
    need(root_of_path(s["leaf"], number(index), checkpoint["size"], path) == checkpoint["root"], "the statement is not in the log")
    segment, place, epoch, length, bound = leaf_of(leaf)
    same = (segment, epoch, checkpoint["origin"]) == (s["segment"], s["epoch"], s["origin"])
    need(same, "leaf, statement and checkpoint do not belong together")
    need(root_of_path(leaf_hash(leaf), place, s["records"], inner) == s["root"], "the leaf is not in its batch")
    need(length == len(raw) and bound == commitment(unbase64(salt), raw), "the bytes are not those of the record")
    return {"record": f"{segment}-{place}", "origin": s["origin"], "size": checkpoint["size"], "signed": checkpoint["signed"]}


class Ledger:
    """Checks one folder; `faults` then says what does not hold."""

    def __init__(self, folder, key=None):
        self.folder, self.faults, self.records, self.open_records, self.size = folder, [], 0, 0, 0
        segments, wals = self.numbers("segments", "parquet"), self.numbers("wal", "wal")
        self.epoch, self.broken, self.heads = None, False, {}
        for s in self.log(self.trusted(key)):
            self.segment(s) if s else self.break_off()
        self.wal([n for n in wals if n >= self.size])
        for n in segments:
            if n >= self.size and n not in wals:
                self.fault("LEDGER-027", f"segments/{n:08}.parquet", "it was sealed and is not in the log: an older checkpoint was put back", n)

    def fault(self, code, place, what, segment=None, records="all"):
        self.faults.append({"code": code, "where": place, "what": str(what), "segment": segment, "records": records})

    def break_off(self):
        self.broken, self.heads = True, {}

    def read(self, name, most=U64):
        path = os.path.join(self.folder, name)
        if os.path.getsize(path) > most:
            raise OSError(f"it has more than {most} bytes")
        with open(path, "rb") as file:
            return file.read()

    def numbers(self, folder, ending):
        folder = os.path.join(self.folder, folder)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        found = (int(name.partition(".")[0]) for name in names if re.fullmatch(rf"\d{{8,10}}\.{ending}", name, re.A))
        return sorted(n for n in found if n <= U32 and f"{n:08}.{ending}" in names)

    def trusted(self, key):
        try:
            own = self.read("keys/checkpoint.vkey", 4096)
            own = Key(text := utf8(own))
            need(text == own.text, "it is not a key and a line break")
            return key or own
        except OSError as error:
            problem = None if key else error
        except Bad as bad:
            problem = bad
        if problem:
            self.fault("LEDGER-028", "keys/checkpoint.vkey", problem)
        return key

    def log(self, key):
        """Checks checkpoint, tiles and statements; returns the statements, `None` for those that are not there."""
        checkpoint, problem = None, "it is missing"
        try:
            note = self.read("log/checkpoint", 65536)
            checkpoint = checkpoint_of(note, need(key, "there is no key to check it with"))
        except FileNotFoundError:
            pass
        except (OSError, Bad) as bad:
            problem = str(bad) or "it cannot be read"
        tiles = sorted(self.tiles(), key=lambda tile: tile["order"])
        entries = {place: leaf_hash(entry) for tile in tiles if tile["level"] is None for place, entry in tile["places"]}
        hashes = {place: each for tile in tiles if tile["level"] == 0 for place, each in tile["places"]}
        stored, leaves = 0, None
        while stored in entries or stored in hashes:
            stored += 1
        self.size = checkpoint["size"] if checkpoint else stored
        for each in ({**hashes, **entries}, {**entries, **hashes}) if checkpoint else ():
            if self.size <= len(each) and None not in (found := [each.get(place) for place in range(self.size)]):
                leaves = leaves or (root(found) == checkpoint["root"] and [found])
        leaves = leaves[0] if leaves else None
        if checkpoint and leaves is not None:
            self.check_tiles(tiles, leaves)
        elif checkpoint:
            self.fault("LEDGER-021", "log/tile", "neither stored entries nor stored hashes give the root that was signed")
        elif stored or problem != "it is missing":
            self.fault("LEDGER-020", "log/checkpoint", problem)
        return self.statements(tiles, leaves, stored, checkpoint and checkpoint["origin"])

    def tiles(self):
        log = os.path.join(self.folder, "log")
        for folder, _, names in os.walk(os.path.join(log, "tile"), followlinks=True):
            for name in (os.path.relpath(os.path.join(folder, name), log) for name in names):
                match = TILE.fullmatch(name)
                index, width = (int(re.sub(r"\D", "", match[2])), int(match[3] or WIDTH)) if match else (1 << 40, 0)
                level = None if match and match[1] == "entries" else int(match[1]) if match else 0
                if index >= 1 << 40 or width > WIDTH or tile_path(level, index, width) != name:
                    continue
                try:
                    content = self.read("log/" + name, WIDTH * 65537)
                except OSError as error:
                    content = None if not isinstance(error, FileNotFoundError) else b""
                order = (level is not None, level or 0, index, width)
                tile = {"name": name, "level": level, "index": index, "width": width, "content": content, "order": order}
                yield {**tile, "places": list(places(level, index * WIDTH, width, content or b""))}

    def statements(self, tiles, leaves, stored, origin):
        found = [None] * (stored if leaves is None else len(leaves))
        for place, entry in (each for tile in tiles if tile["level"] is None for each in tile["places"]):
            if place < len(found) and (leaves is None or leaves[place] == leaf_hash(entry)):
                try:
                    found[place] = statement_of(entry)
                except Bad:
                    pass
        previous, epoch = ZERO, 0
        for n, s in enumerate(found):
            if s is None:
                self.fault("LEDGER-027", "log", "no stored copy of this statement fits the log", n)
            elif s["segment"] != n or origin not in (None, s["origin"]):
                self.fault("LEDGER-027", "log", "the statement is that of another segment or log", n)
            elif s["epoch"] < epoch or previous not in (None, s["previous"]):
                self.fault("LEDGER-027", "log", "the statement does not continue the one before it", n)
            previous, epoch = (s["leaf"], s["epoch"]) if s else (None, epoch)
        return found

    def check_tiles(self, tiles, leaves):
        for tile in tiles:
            level, index, width, span = tile["level"], tile["index"], tile["width"], WIDTH ** (tile["level"] or 0)
            if (index * WIDTH + width) * span > len(leaves):
                continue
            stored, first = [each for _, each in tile["places"]], index * WIDTH * span
            hashes = [leaf_hash(entry) for entry in stored] if level is None else stored
            length = sum(len(entry) + 2 for entry in stored) if level is None else 32 * width
            expected = [root(leaves[at:at + span]) for at in range(first, first + width * span, span)]
            if tile["content"] is None or hashes != expected or length != len(tile["content"]):
                self.fault("LEDGER-021", "log/" + tile["name"], "it is not what was signed", first)
        for level in [None, *range(8)]:
            size, widest = len(leaves) // WIDTH ** (level or 0), {t["index"]: t["width"] for t in tiles if t["level"] == level}
            for index in range(-(-size // WIDTH)):
                if widest.get(index, 0) < (width := min(WIDTH, size - index * WIDTH)):
                    self.fault("LEDGER-021", "log/" + tile_path(level, index, width), "it is missing", index * WIDTH ** (level or 0))

    def segment(self, s):
        before, n, name = len(self.faults), s["segment"], f"segments/{s['segment']:08}"
        if self.epoch != s["epoch"]:
            self.epoch, self.broken, self.heads = s["epoch"], False, {}
        try:
            content = self.read(name + ".map", 64 << 20)
            need((len(content), sha(content)) == s["map"], "it is not the file that was sealed")
            check_map(utf8(content), s)
        except (OSError, Bad) as bad:
            self.fault("LEDGER-026", name + ".map", bad, n)
        try:
            content = self.read(name + ".parquet")
            if (len(content), sha(content)) != s["file"]:
                self.fault("LEDGER-022", name + ".parquet", "it is not the file that was sealed", n)
            elif astray := self.check_records(content, s):
                self.fault("LEDGER-023", name + ".parquet", "records do not continue what their source sent before", n, astray)
        except OSError as error:
            self.fault("LEDGER-024", name + ".parquet", error, n)
        except (Bad, pa.ArrowException, ValueError, KeyError) as bad:
            self.fault("LEDGER-023", name + ".parquet", bad, n)
        if len(self.faults) > before:
            self.break_off()

    def check_records(self, content, s):
        """Recomputes the batch root from the rows; returns the indexes of those that do not continue their source's chain."""
        file = parquet.ParquetFile(pa.BufferReader(content))
        need([(f.name, f.type, f.nullable) for f in file.schema_arrow] == COLUMNS, "its columns are not those of the specification")
        pairs, n = {key: value.decode() for key, value in (file.metadata.metadata or {}).items() if key.startswith(b"reeve.")}, s["segment"]
        named = [pairs[b"reeve." + key] for key in (b"format", b"segment", b"epoch")]
        secret = bytes.fromhex(need(re.fullmatch("[0-9a-fA-F]{64}", pairs[b"reeve.salt_secret"]), "its secret is not in its form")[0])
        need(named == ["1", str(n), str(s["epoch"])], "its metadata is that of another segment")
        need(sha(b"reeve-salt-secret/v1\0", secret) == s["salts"], "its salt secret is not that of the statement")
        extracted, leaves, last, times, lost, astray, size = hmac.digest(b"reeve-salt/v1", secret, "sha256"), [], {}, [], [], [], 0
        for batch in file.iter_batches(4096, use_threads=False):
            plain = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in batch.columns)
            for row in zip(*(column.to_pylist() for column in plain)):
                place, raw, source, sequence, received, transport, claimed, certainty, policy, previous = row
                index, certainty = len(leaves), certainty or 0
                claimed = claimed if certainty else 0
                need(place == index and certainty <= 4 and claimed is not None, f"row {index} is not in its form")
                need(EARLIEST <= received <= LATEST and EARLIEST <= claimed <= LATEST, f"a time of row {index} is out of range")
                way, names = TRANSPORTS[transport], [text.encode() for text in (source, policy)]
                if raw is None:
                    leaves.append(leaf_hash(b"RVX1" + struct.pack(">II", n, index)))
                    lost.append(index)
                    self.break_off()
                    continue
                need(max(map(len, names)) < 65536, f"a name of row {index} is too long")
                previous = last.get(source, ZERO) if previous is None else previous
                salt = hmac.digest(extracted, struct.pack(">IIB", n, index, 1), "sha256")
                leaf = leaf_hash(b"".join([
                    struct.pack(">4sIIQQ", b"RVL1", n, index, s["epoch"], sequence), previous,
                    struct.pack(">qBqBcQ", received, certainty, claimed, *way, len(raw)), commitment(salt, raw),
                    *(struct.pack(">H", len(name)) + name for name in names)]))
                head = self.heads.get(source)
                if not (head == (sequence - 1, previous) if head else self.broken or (sequence, previous) == (0, ZERO)):
                    astray.append(index)
                self.heads[source], last[source] = (sequence, leaf), leaf
                leaves.append(leaf)
                times.append(received)
                size += len(raw)
        self.records += len(leaves)
        need(len(leaves) == file.metadata.num_rows == s["records"], "it has another number of records")
        need(root(leaves) == s["root"] and size == s["raw_bytes"], "its records do not give the batch root that was signed")
        need(lost == [at for first, count in s["lost"] for at in range(first, first + count)], "other records are lost than were declared")
        need((min(times, default=0), max(times, default=0)) == s["received"], "its times of receipt are not those that were signed")
        return astray

    def wal(self, numbers):
        expected, after = self.size, {}
        for n in numbers:
            try:
                after[n] = wal_head(self.read(f"wal/{n:08}.wal"), n)
            except OSError as error:
                after[n] = (None, None, None if isinstance(error, FileNotFoundError) else error)
        for n, following in zip(numbers, numbers[1:] + [None]):
            seed, _, content = after[n]
            if n > expected:
                self.fault("LEDGER-025", f"wal/{n:08}.wal", "the files before it are missing", expected)
            expected, complete = n + 1, after[following][1] if following is not None else None
            if seed:
                records, lost, damage = scan_wal(content, seed, complete)
                self.open_records += records - lost
                if damage:
                    self.fault("LEDGER-025", f"wal/{n:08}.wal", "; ".join(damage), n, f"{lost} of {records}")
            elif isinstance(content, OSError) or content is not None and (following is not None or len(content) > 4096):
                self.fault("LEDGER-025", f"wal/{n:08}.wal", "its head is damaged, or it cannot be read", n)


def tile_path(level, index, width):
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(["tile", "entries" if level is None else str(level), *groups]) + (f".p/{width}" if width < WIDTH else "")


def places(level, first, width, content):
    """The places of a tile or bundle with their hash or entry, up to where its form breaks."""
    at, prefix = 0, 2 if level is None else 0
    for place in range(first, first + width):
        size = int.from_bytes(content[at:at + 2], "big") if prefix else 32
        if at + prefix + size > len(content):
            return
        yield place, content[at + prefix:at + prefix + size]
        at += prefix + size


def check_map(text, s):
    need(re.fullmatch(f"reeve-map/v1\n(?:{N} {N} {N} {N} [0-9a-f]{{8}} {H}\n)+", text, re.A), "it is no map")
    end = 0
    for line in text.split("\n")[1:-1]:
        (offset, length), (first, count), hashed = map(number, line.split()[:2]), (number(n, U32) for n in line.split()[2:4]), line.split()[5]
        need(unbase64(hashed) and offset == end and first + count <= s["records"], "a line does not follow, or names other records")
        end += length
    need(end == s["file"][0], "it does not cover the segment file")


def wal_head(content, segment):
    """What checksums start with, and the number of records in the file before; `None` for both if neither copy is whole."""
    for block in content[:2048], content[2048:4096]:
        if block[:8] == b"RVWAL\0\0\1" and len(block) >= 76 and zlib.crc32(block[:72]) == int.from_bytes(block[72:76], "big"):
            if int.from_bytes(block[8:12], "big") == segment:
                return block[20:36] + block[12:20], int.from_bytes(block[68:72], "big"), content
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
            fits = kind in (1 << 24, 2 << 24) and 28 + 4 * count <= length <= 160 << 20 and records + pending[0] <= first <= U32 - count
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
    if complete is not None or not pending[2]:
        settle()
    if complete is not None and complete > records:
        damage.append(f"it ends at record {records}, the next file says {complete}")
        records, lost = complete, lost + complete - records
    return records, lost, damage


def answer(question):
    try:
        question = json.loads(question) if isinstance(question, str) else question
        key = Key(question["key"]) if question.get("key") else None
        if "dir" in question:
            ledger = Ledger(question["dir"], key)
            return {"verdict": "failed" if ledger.faults else "intact", "segments": ledger.size, "records": ledger.records,
                    "unsealed_records": ledger.open_records, "faults": ledger.faults}
        raw, proof = unbase64(question["raw"]), question["proof"].encode()
        need(key, "a proof needs a key")
    except (Bad, ValueError, KeyError, AttributeError, TypeError) as why:
        return {"verdict": "unusable", "why": str(why)}
    return proof_answer(proof, raw, key)


def proof_answer(proof, raw, key):
    try:
        return {"verdict": "intact", "proven": verify_proof(proof, raw, key)}
    except Bad as bad:
        return {"verdict": "failed", "faults": [{"code": "LEDGER-012", "where": "proof", "what": str(bad)}]}


def ask(wanted, usage):
    """The answer to what the command line asks."""
    if not wanted.target or os.path.exists(wanted.target) and os.path.isdir(wanted.target) == bool(wanted.raw):
        usage("name a folder, or a proof with --raw")
    key = open(wanted.key, encoding="utf-8").read() if wanted.key and os.path.exists(wanted.key) else wanted.key
    if wanted.raw:
        need(key, "a proof says nothing without a key you trust") if key else usage("a proof says nothing without --key")
        return proof_answer(open(wanted.target, "rb").read(), open(wanted.raw, "rb").read(), Key(key))
    os.listdir(wanted.target)
    inner = os.path.join(wanted.target, "ledger")
    is_data = os.path.isdir(os.path.join(inner, "log")) and not os.path.exists(os.path.join(wanted.target, "log"))
    if not key:
        print("verify.py: warning: trusting the key in the folder itself, which a rewritten log would fit: give --key", file=sys.stderr)
    return answer({"dir": inner if is_data else wanted.target, "key": key})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(3, f"verify.py: {message}\n")
    for name, options in ("target", {"nargs": "?"}), ("--key", {}), ("--raw", {}), ("--batch", {"action": "store_true"}):
        parser.add_argument(name, **options)
    wanted = parser.parse_args()
    if wanted.batch:
        for line in sys.stdin:
            print(json.dumps(answer(line)), flush=True)
        return 0
    try:
        found = ask(wanted, parser.error)
    except (OSError, Bad, UnicodeDecodeError) as why:
        found = {"verdict": "unusable", "why": str(why)}
    for fault in found.pop("faults", []):
        print(json.dumps({"fault": fault}))
    print(json.dumps(found))
    return {"intact": 0, "failed": 4, "unusable": 2}[found["verdict"]]


if __name__ == "__main__":
    sys.exit(main())
