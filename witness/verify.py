#!/usr/bin/env python3
"""Checks a Reeve ledger, or the proof of one record, offline. Written from docs/spec/ alone.

    verify.py [--key KEY] [--root-key KEY] [--policy FILE] [--fork HEX]... [--against FILE]... DIR
    verify.py --key KEY [--policy FILE] --raw FILE PROOF
    verify.py --batch        one question a line as JSON, {"dir", "key", "root_key", "policy", "forks", "against"}
                             or {"proof", "raw" in base64, "key", "policy"}; one answer a line

KEY is a verifier key or the file it is in. Faults and verdict are lines of JSON. Exit codes: 0 everything holds, 2 input unusable,
3 usage, 4 something does not hold. Needs the packages cryptography and pyarrow.
"""
import argparse, hmac, json, os, re, struct, sys

import pyarrow as pa
import pyarrow.parquet as parquet

from c2sp import (CHECKPOINT, EARLIEST, LATEST, H, N, U64, WIDTH, Bad, Key, Policy, checkpoint_of, form, leaf_hash, need, number, places, root, root_of_path, sha,
                  tile_path, unbase64, utf8)
from entries import DISPOSALS, TRANSPORTS, Follower, check_epoch, check_map, commitment, dispose, entry_of, epoch_key, epoch_of, leaf_of, stamp_of, statement_of
from wal import scan_wal, wal_head

ZERO, U32 = bytes(32), (1 << 32) - 1
COLUMNS = [("index", pa.uint32(), False), ("raw", pa.binary(), True), ("source", pa.string(), False), ("sequence", pa.uint64(), False),
           ("received_at", pa.timestamp("us", "UTC"), False), ("transport", pa.string(), False),
           ("claimed_at", pa.timestamp("us", "UTC"), True), ("claimed_certainty", pa.uint8(), True),
           ("policy", pa.string(), False), ("previous", pa.binary(32), True)]
PROOF = form(f"c2sp[.]org/tlog-proof@v1\nextra ([^\n]*)\nindex {N}((?:\n{H}){{0,64}})\n\n((?s:.)*)")
EXTRA = form(f"reeve-record-proof/v(?:1|(2))\nleaf ([^\n]*)\nsalt {H}((?:\npath {H}){{0,64}})"
             f"(?(1)\nepoch {N}((?:\nepoch_path {H}){{0,64}})\nepoch_entry ([^\n]*))\nstatement\n((?s:.)*)")
TILE = form(r"tile/([0-7]|entries)((?:/x\d{3})*/\d{3})(?:\.p/([1-9]\d{0,2}))?")


def verify_proof(proof, raw, key, policy=None):
    need(len(proof) <= 262144, "it is too long")
    extra, index, path, _, note = need(PROOF.fullmatch(utf8(proof)), "it is no proof").groups()
    _, leaf, salt, inner, _, epoch_at, epoch_path, _, epoch, s = need(EXTRA.fullmatch(utf8(unbase64(extra))), "its extra is not in its form").groups()
    checkpoint, leaf, s = checkpoint_of(note.encode(), key), unbase64(leaf), statement_of(s.encode())
    path, inner, epoch_path = ([unbase64(each) for each in re.findall(H, text or "")] for text in (path, inner, epoch_path))
    need(root_of_path(s["leaf"], number(index), checkpoint["size"], path) == checkpoint["root"], "the statement is not in the log")
    segment, place, epoch_of_records, length, bound = leaf_of(leaf)
    same = (segment, epoch_of_records, checkpoint["origin"]) == (s["segment"], s["epoch"], s["origin"])
    need(same, "leaf, statement and checkpoint do not belong together")
    need(root_of_path(leaf_hash(leaf), place, s["records"], inner) == s["root"], "the leaf is not in its batch")
    need(length == len(raw) and bound == commitment(unbase64(salt), raw), "the bytes are not those of the record")
    if epoch is not None:
        entry = unbase64(epoch)
        need((found := epoch_of(entry))["origin"] == checkpoint["origin"], "the epoch is that of another log")
        need(root_of_path(leaf_hash(entry), number(epoch_at), checkpoint["size"], epoch_path) == checkpoint["root"], "the epoch is not in the log")
        check_epoch(found, checkpoint)
    if policy:
        policy.check(checkpoint["note"])
    return {"record": f"{segment}-{place}", "grade": chr(leaf[78]), "origin": s["origin"], "entries": checkpoint["size"], "signed": checkpoint["signed"]}


class Ledger:
    """Checks one folder; `faults` then says what does not hold."""

    def __init__(self, folder, key=None, root_key=None, policy=None, forks=(), against=()):
        self.folder, self.faults, self.records, self.open_records, self.size, self.forks, self.against = folder, [], 0, 0, 0, forks, against
        segments, wals = self.numbers("segments", "parquet"), self.numbers("wal", "wal")
        self.epoch, self.broken, self.heads = None, False, {}
        own = self.own("keys/checkpoint.vkey", "LEDGER-028", key_file)
        key = key or policy and own and policy.logs.get(own.name) or own
        if not key and not self.faults:
            self.fault("LEDGER-028", "keys/checkpoint.vkey", "it cannot be read, and no other key was given")
        self.root_given, self.root_key = bool(root_key), root_key or self.own("keys/root.vkey", "LEDGER-028", key_file)
        self.policy = policy or self.own("log/policy", "LEDGER-032", Policy)
        statements = self.log(key)
        for s in statements:
            self.segment(s) if s else self.break_off()
        self.segments = len(statements)
        self.wal([n for n in wals if n >= self.segments])
        for n in segments:
            if n >= self.segments and n not in wals:
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

    def own(self, name, code, parse):
        """What the folder has to be trusted, if it can be read."""
        try:
            return parse(utf8(self.read(name, 4096 if name.startswith("keys/") else 65536)))
        except (OSError, Bad) as bad:
            if not isinstance(bad, FileNotFoundError) and (isinstance(bad, Bad) or name != "keys/checkpoint.vkey"):
                self.fault(code, name, bad)

    def note(self, name, key):
        """A signed checkpoint, given or in a file, or what is wrong with it; `None` if it is not there."""
        try:
            note = name if isinstance(name, bytes) else self.read(name, 65536)
            return checkpoint_of(note, need(key, "there is no key to check it with"))
        except FileNotFoundError:
            return None
        except (OSError, Bad) as bad:
            return bad

    def log(self, key):
        """Checks checkpoint, tiles and entries; returns the batch statements, `None` for entries that are not there."""
        stamps = os.path.join(self.folder, "log/stamps")
        names = os.listdir(stamps) if os.path.isdir(stamps) else []
        beside = {name: self.note("log/stamps/" + name, key) for name in names if name.endswith(".note")} if key else {}
        beside["cosigned"] = self.note("log/cosigned", key) if key else None
        beside.update({n: self.note(note.encode(), key) for n, note in enumerate(self.against)})
        checkpoint, problem = self.note("log/checkpoint", key), None
        if not isinstance(checkpoint, dict):
            checkpoint, problem = None, checkpoint
        tiles = sorted(self.tiles(), key=lambda tile: tile["order"])
        entries = {place: leaf_hash(entry) for tile in tiles if tile["level"] is None for place, entry in tile["places"]}
        hashes = {place: each for tile in tiles if tile["level"] == 0 for place, each in tile["places"]}
        stored, leaves = 0, None
        while stored in entries or stored in hashes:
            stored += 1
        self.size = checkpoint["size"] if checkpoint else stored
        for each in ({**hashes, **entries}, {**entries, **hashes}) if checkpoint else ():
            if leaves is None and self.size <= len(each) and None not in (found := [each.get(place) for place in range(self.size)]):
                leaves = found if root(found) == checkpoint["root"] else None
        slots = self.entries(tiles, leaves, stored, checkpoint and checkpoint["origin"])
        if checkpoint and leaves is not None:
            self.check_tiles(tiles, leaves)
            self.follow(checkpoint, slots, leaves, beside, names)
        elif checkpoint:
            self.fault("LEDGER-021", "log/tile", "neither stored entries nor stored hashes give the root that was signed")
        elif problem is not None or any(entry is None or entry["kind"] == "reeve-batch/v1" for entry in slots):
            self.fault("LEDGER-020", "log/checkpoint", problem or "it is missing")
        return [entry for entry in slots if entry is None or entry["kind"] == "reeve-batch/v1"]

    def follow(self, checkpoint, slots, leaves, beside, names):
        """Epochs, forks, and what others said about the log: E1 to E6, V3 to V6 of docs/spec/log.md."""
        follower, at = Follower(), {}
        sizes = {note["size"] for note in beside.values() if isinstance(note, dict)}
        for place, (leaf, entry) in enumerate(zip(leaves, slots)):
            if place in sizes:
                at[place] = (root(leaves[:place]), follower.last)
            kind = entry and entry["kind"]
            if kind == "reeve-epoch/v1" and not follower.last and self.root_key and epoch_text(entry) != self.root_key.text:
                self.fault("LEDGER-030", f"entry {place}", "epoch 0 does not have the root key")
            if kind == "reeve-fork/v1" and leaf not in self.forks:
                self.fault("LEDGER-031", f"entry {place}", f"the log was forked; the leaf hash {leaf.hex()} was not given")
            if problem := follower.take(leaf, entry):
                self.fault("LEDGER-030", f"entry {place}", problem)
        at[len(leaves)] = (checkpoint["root"], follower.last)

        def fits(note):
            if not isinstance(note, dict):
                raise note
            need(at.get(note["size"], [None])[0] == note["root"], "it is about another log than the one stored")
            if at[note["size"]][1]:
                check_epoch(at[note["size"]][1], note)
            return note
        self.expect("LEDGER-030", "log/checkpoint", lambda: need(follower.last or not self.root_given, "the log has no key epochs") and fits(checkpoint))
        self.expect("LEDGER-030", "log/checkpoint", lambda: need(not follower.fork, "no epoch follows the last fork"))
        for note in (beside.pop(n) for n in range(len(self.against))):
            same = isinstance(note, dict) and at.get(note["size"], [None])[0] == note["root"]
            self.expect("LEDGER-035", "log/checkpoint", lambda: need(same, f"the log does not continue a checkpoint kept elsewhere: {note}"))
        cosigned = beside.pop("cosigned")
        if cosigned is None and self.policy:
            self.fault("LEDGER-032", "log/cosigned", "no checkpoint reached the quorum of witnesses")
        elif cosigned is not None and self.expect("LEDGER-032", "log/cosigned", lambda: [fits(cosigned), self.policy and self.policy.check(cosigned["note"])]):
            if self.policy and any(entry and entry["kind"] == "reeve-batch/v1" for entry in slots[cosigned["size"]:]):
                self.fault("LEDGER-033", "log/cosigned", f"only the first {cosigned['size']} entries are under a quorum")
        for name, note in beside.items():
            note, place = Bad("it is missing") if note is None else note, "log/stamps/" + name
            if self.expect("LEDGER-034", place, lambda: need(at[fits(note)["size"]][1] and name == f"{at[note['size']][1]['epoch']:08}.note", "it is of another epoch")):
                for response in names:
                    if re.fullmatch(re.escape(name[:-5]) + r"\.[a-z0-9-]{1,32}\.tsr", response):
                        self.expect("LEDGER-034", "log/stamps/" + response, lambda: need(
                            note["time"] - stamp_of(self.read("log/stamps/" + response, 262144), sha(note["note"].encode())) <= 300 * 10**6,
                            "its time is before that of the checkpoint"))

    def expect(self, code, place, holds):
        """Whether something holds; a fault if not."""
        try:
            holds()
            return True
        except (Bad, OSError) as bad:
            self.fault(code, place, bad)
            return False

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

    def entries(self, tiles, leaves, stored, origin):
        found = [None] * (stored if leaves is None else len(leaves))
        for place, entry in (each for tile in tiles if tile["level"] is None for each in tile["places"]):
            if place < len(found) and (leaves is None or leaves[place] == leaf_hash(entry)):
                try:
                    found[place] = entry_of(entry)
                except Bad as bad:
                    found[place] = {"kind": bad, "origin": origin} if leaves is not None else found[place]
        previous, epoch, segment, sealed = ZERO, 0, 0, {}
        for n, s in enumerate(found):
            place = f"entry {n} of the main log"
            if s is None or isinstance(s["kind"], Bad):
                self.fault("LEDGER-027", place, s["kind"] if s else "no stored copy of it fits the log")
                previous, segment = (previous, segment) if s else (None, None)
                continue
            if origin not in (None, s["origin"]):
                self.fault("LEDGER-027", place, "it is that of another log")
            if s["kind"] in DISPOSALS:
                self.expect("LEDGER-036", place, lambda: dispose(sealed.get(s["segment"]), s))
            if s["kind"] == "reeve-batch/v1":
                sealed[s["segment"]] = s
                if s["epoch"] < epoch or previous not in (None, s["previous"]) or segment not in (None, s["segment"]):
                    self.fault("LEDGER-027", place, "the statement does not continue the one before it", s["segment"])
                previous, epoch, segment = s["leaf"], s["epoch"], s["segment"] + 1
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
        if s["destroyed"]:
            size = 32 * s["records"]
            self.expect("LEDGER-024", name + ".leaves", lambda: need(
                len(leaves := self.read(name + ".leaves", size)) == size and root([leaves[at:at + 32] for at in range(0, size, 32)]) == s["root"],
                "the leaf hashes of the destroyed segment do not give the batch root"))
            return self.break_off()
        name += f".r{s['redactions']}" if s["redactions"] else ""
        try:
            content = self.read(name + ".map", 64 << 20)
            need((len(content), sha(content)) == s["map"], "it is not the file that was sealed")
            check_map(utf8(content), s)
        except (OSError, Bad) as bad:
            self.fault("LEDGER-026", name + ".map", bad, n)
        try:
            salts = s["salts_file"] and self.read(name + ".salts", s["salts_file"][0])
            need(salts is None or (len(salts), sha(salts)) == s["salts_file"] and len(salts) == 40 * s["records"], "its salts are not those that were logged")
            content = self.read(name + ".parquet")
            if (len(content), sha(content)) != s["file"]:
                self.fault("LEDGER-022", name + ".parquet", "it is not the file that was sealed", n)
            elif astray := self.check_records(content, s, salts):
                self.fault("LEDGER-023", name + ".parquet", "records do not continue what their source sent before", n, astray)
        except OSError as error:
            self.fault("LEDGER-024", name + ".parquet", error, n)
        except (Bad, pa.ArrowException, ValueError, KeyError) as bad:
            self.fault("LEDGER-023", name + ".parquet", bad, n)
        if len(self.faults) > before:
            self.break_off()

    def check_records(self, content, s, salts):
        """Recomputes the batch root from the rows; returns the indexes of those that do not continue their source's chain."""
        file = parquet.ParquetFile(pa.BufferReader(content))
        need([(f.name, f.type, f.nullable) for f in file.schema_arrow] == COLUMNS, "its columns are not those of the specification")
        pairs, n = {key: value.decode() for key, value in (file.metadata.metadata or {}).items() if key.startswith(b"reeve.")}, s["segment"]
        named = [pairs[b"reeve." + key] for key in (b"format", b"segment", b"epoch")]
        need(named == ["2" if salts else "1", str(n), str(s["epoch"])], "its metadata is that of another segment")
        extracted, leaves, last, times, lost, astray, size = b"", [], {}, [], [], [], 0
        redacted = {index for first, count in s["redacted"] for index in range(first, first + count)}
        if salts:
            need(b"reeve.salt_secret" not in pairs, "it has a salt secret though records were redacted")
        else:
            secret = bytes.fromhex(need(re.fullmatch("[0-9a-fA-F]{64}", pairs[b"reeve.salt_secret"]), "its secret is not in its form")[0])
            need(sha(b"reeve-salt-secret/v1\0", secret) == s["salts"], "its salt secret is not that of the statement")
            extracted = hmac.digest(b"reeve-salt/v1", secret, "sha256")
        for batch in file.iter_batches(4096, use_threads=False):
            plain = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in batch.columns)
            for row in zip(*(column.to_pylist() for column in plain)):
                place, raw, source, sequence, received, transport, claimed, certainty, policy, previous = row
                index, certainty = len(leaves), certainty or 0
                claimed = claimed if certainty else 0
                need(place == index and certainty <= 4 and claimed is not None, f"row {index} is not in its form")
                need(EARLIEST <= received <= LATEST and EARLIEST <= claimed <= LATEST, f"a time of row {index} is out of range")
                way, names = TRANSPORTS[transport], [text.encode() for text in (source, policy)]
                need(raw is None or index not in redacted, f"row {index} has content though it was redacted")
                if raw is None and index not in redacted:
                    leaves.append(leaf_hash(b"RVX1" + struct.pack(">II", n, index)))
                    lost.append(index)
                    self.break_off()
                    continue
                need(max(map(len, names)) < 65536, f"a name of row {index} is too long")
                previous = last.get(source, ZERO) if previous is None else previous
                held = salts[40 * index:40 * index + 40] if salts else bytes(8) + hmac.digest(extracted, struct.pack(">IIB", n, index, 1), "sha256")
                length, bound = (int.from_bytes(held[:8], "big"), held[8:]) if raw is None else (len(raw), commitment(held[8:], raw))
                leaf = leaf_hash(b"".join([
                    struct.pack(">4sIIQQ", b"RVL1", n, index, s["epoch"], sequence), previous,
                    struct.pack(">qBqBcQ", received, certainty, claimed, *way, length), bound,
                    *(struct.pack(">H", len(name)) + name for name in names)]))
                head = self.heads.get(source)
                if not (head == (sequence - 1, previous) if head else self.broken or (sequence, previous) == (0, ZERO)):
                    astray.append(index)
                self.heads[source], last[source] = (sequence, leaf), leaf
                leaves.append(leaf)
                times.append(received)
                size += length
        self.records += len(leaves)
        need(len(leaves) == file.metadata.num_rows == s["records"], "it has another number of records")
        need(root(leaves) == s["root"] and size == s["raw_bytes"], "its records do not give the batch root that was signed")
        need(lost == [at for first, count in s["lost"] for at in range(first, first + count)], "other records are lost than were declared")
        need((min(times, default=0), max(times, default=0)) == s["received"], "its times of receipt are not those that were signed")
        return astray

    def wal(self, numbers):
        expected, after = self.segments, {}
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


def key_file(text):
    need(text == (key := Key(text)).text, "it is not a key and a line break")
    return key


def epoch_text(epoch):
    try:
        return epoch_key(epoch).text
    except Bad:
        return ""


def answer(question):
    try:
        question = json.loads(question) if isinstance(question, str) else question
        key, root_key = (Key(question[name]) if question.get(name) else None for name in ("key", "root_key"))
        policy, forks = Policy(question["policy"]) if question.get("policy") else None, [bytes.fromhex(fork) for fork in question.get("forks", [])]
        if "dir" in question:
            need(all(CHECKPOINT.fullmatch(note.rpartition("\n\n")[0] + "\n") for note in question.get("against", [])), "what `against` gives is no checkpoint")
            ledger = Ledger(question["dir"], key, root_key, policy, forks, question.get("against", []))
            return {"verdict": "failed" if ledger.faults else "intact", "entries": ledger.size, "segments": ledger.segments, "records": ledger.records,
                    "unsealed_records": ledger.open_records, "faults": ledger.faults}
        raw, proof = unbase64(question["raw"]), question["proof"].encode()
        need(key, "a proof needs a key")
    except (Bad, ValueError, KeyError, AttributeError, TypeError) as why:
        return {"verdict": "unusable", "why": str(why)}
    return proof_answer(proof, raw, key, policy)


def proof_answer(proof, raw, key, policy):
    try:
        return {"verdict": "intact", "proven": verify_proof(proof, raw, key, policy)}
    except Bad as bad:
        return {"verdict": "failed", "faults": [{"code": "LEDGER-012", "where": "proof", "what": str(bad)}]}


def ask(wanted, usage):
    """The answer to what the command line asks."""
    if not wanted.target or os.path.exists(wanted.target) and os.path.isdir(wanted.target) == bool(wanted.raw):
        usage("name a folder, or a proof with --raw")
    key, root_key = (open(k, encoding="utf-8").read() if k and os.path.exists(k) else k for k in (wanted.key, wanted.root_key))
    policy = open(wanted.policy, encoding="utf-8").read() if wanted.policy else None
    if wanted.raw:
        need(key, "a proof says nothing without a key you trust") if key else usage("a proof says nothing without --key")
        return proof_answer(open(wanted.target, "rb").read(), open(wanted.raw, "rb").read(), Key(key), policy and Policy(policy))
    os.listdir(wanted.target)
    inner = os.path.join(wanted.target, "ledger")
    is_data = os.path.isdir(os.path.join(inner, "log")) and not os.path.exists(os.path.join(wanted.target, "log"))
    if not key:
        print("verify.py: warning: trusting the key in the folder itself, which a rewritten log would fit: give --key", file=sys.stderr)
    against = [open(kept, encoding="utf-8").read() for kept in wanted.against]
    return answer({"dir": inner if is_data else wanted.target, "key": key, "root_key": root_key, "policy": policy, "forks": wanted.fork, "against": against})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(3, f"verify.py: {message}\n")
    for name, options in ("target", {"nargs": "?"}), ("--batch", {"action": "store_true"}):
        parser.add_argument(name, **options)
    for name in "--fork", "--against":
        parser.add_argument(name, action="append", default=[])
    for name in "--key", "--root-key", "--policy", "--raw":
        parser.add_argument(name)
    wanted = parser.parse_args()
    if wanted.batch:
        for line in sys.stdin:
            print(json.dumps(answer(line)), flush=True)
        return 0
    try:
        found = ask(wanted, parser.error)
    except (OSError, Bad, UnicodeDecodeError) as why:
        found = {"verdict": "unusable", "why": str(why)}
    for fault in found.pop("faults", None) or found.get("report", {}).pop("faults", []):
        print(json.dumps({"fault": fault}))
    print(json.dumps(found))
    return {"intact": 0, "failed": 4, "unusable": 2}[found["verdict"]]


if __name__ == "__main__":
    sys.exit(main())
