"""Leaves, batch statements, key epochs, forks, and the time-stamps beside the log (docs/spec/record.md, docs/spec/log.md)."""
import re, struct, unicodedata

from c2sp import EARLIEST, LATEST, H, N, T, Bad, Key, form, leaf_hash, need, number, root_of, sha, time, unbase64, utf8

U32, DAY = (1 << 32) - 1, 86400 * 10**6
TRANSPORTS = {"file": (1, b"B"), "syslog_udp": (2, b"C"), "syslog_tcp": (3, b"C"), "http": (4, b"B"),
              "elastic_bulk": (5, b"B"), "watch": (6, b"B"), "internal": (7, b"A"), "delivery": (8, b"A"),
              "syslog_tls": (9, b"B"), "relp": (10, b"B"), "splunk_hec": (11, b"B"), "gelf_udp": (12, b"C"),
              "gelf_tcp": (13, b"C"), "gelf_http": (14, b"B"), "fluent_forward": (15, b"B"), "otlp_http": (16, b"B"),
              "journal_upload": (17, b"B"), "otlp_grpc": (18, b"B"), "netflow_udp": (19, b"C"),
              "sflow_udp": (20, b"C")}
STATEMENT = form(f"reeve-batch/v1\norigin ([^\n]*)\nsegment {N}\nepoch {N}\nrecords {N}\nraw_bytes {N}\nreceived {T} {T}\nsealed {T}\n"
                 f"root {H}\nprevious {H}\nsalts {H}\nfile {N} {H}\nmap {N} {H}\n((?:lost {N} {N}\n)*)")
EPOCH = form(f"(reeve-epoch/v1\norigin ([^\n]*)\nepoch {N}\nbegins {T}\nends {T}\nkey {H}\nseal (?:none|{N} {H} {T})\n)"
             "signature (none|[A-Za-z0-9+/]{86}==)\n")
FORK = form(f"reeve-fork/v1\norigin ([^\n]*)\nat {T}\nsize {N} {H}\nlost {N}\nrequester ([^\n]*)\napprover ([^\n]*)\nreason ([^\n]*)\n")

DISPOSAL = form(f"reeve-(?:(redaction)|destruction)/v1\norigin ([^\n]*)\nat {T}\nsegment {N}\nrequester ([^\n]*)\napprover ([^\n]*)\nreason ([^\n]*)\n"
                f"authority ([^\n]*)\npolicy ([^\n]*)\n(?(1)file {N} {H}\nmap {N} {H}\nsalts {N} {H}\n((?:redacted {N} {N}\n)+))")
HOLD = form(f"reeve-hold/v1\norigin ([^\n]*)\nat {T}\n(?:add|release) [a-z0-9-]{{1,64}}\n((?:[a-z_]{{1,32}} [^\n]+\n)*)")


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


def entry_of(data):
    """An entry as a dictionary with its `kind`."""
    kind = utf8(data).split("\n")[0]
    need(kind in KINDS, "it is of a kind that is not known")
    return {"kind": kind, **KINDS[kind](data)}


def statement_of(entry):
    found = need(STATEMENT.fullmatch(utf8(entry)), "it is no batch statement").groups()
    s = {"leaf": leaf_hash(entry), "origin": found[0], "segment": number(found[1], U32), "epoch": number(found[2]),
         "records": number(found[3], U32), "raw_bytes": number(found[4]), "received": (time(found[5]), time(found[6])),
         "root": unbase64(found[8]), "previous": unbase64(found[9]), "salts": unbase64(found[10]),
         "file": (number(found[11]), unbase64(found[12])), "map": (number(found[13]), unbase64(found[14]))}
    time(found[7])
    s["lost"] = ranges("lost", found[15], s["records"])
    need(s["records"], "a batch has records")
    return {**s, "redacted": [], "redactions": 0, "salts_file": None, "destroyed": False}


def ranges(name, lines, most):
    """First indexes and counts: ascending, not touching, none ending past `most`."""
    found, free = [(number(first, U32), number(count, U32)) for first, count in re.findall(f"{name} {N} {N}\n", lines)], 0
    for first, count in found:
        need(first >= free and count and first + count <= most, f"{name} records are not in order")
        free = first + count + 1
    return found


def epoch_of(data):
    signed, origin, epoch, begins, ends, key, size, root, at, signature = need(EPOCH.fullmatch(utf8(data)), "it is no epoch").groups()
    return {"origin": origin, "epoch": number(epoch), "begins": time(begins), "ends": time(ends), "public": unbase64(key), "signed": signed.encode(),
            "seal": (number(size), unbase64(root), time(at)) if size else None, "signature": None if signature == "none" else unbase64(signature)}


def fork_of(data):
    origin, at, size, root, lost, *told = need(FORK.fullmatch(utf8(data)), "it is no fork").groups()
    two_people(*told)
    time(at), number(lost)
    return {"origin": origin, "tree": (number(size), unbase64(root))}


def two_people(*told):
    """Requester, approver, and what they said."""
    for text, most in zip(told, (256, 256, 1024, 1024, 1024)):
        odd = text.strip() != text or any(unicodedata.category(c) == "Cc" for c in text)
        need(not odd and 1 <= len(text.encode()) <= most, "a text of the two people is not in its form")
    need(told[0].lower() != told[1].lower(), "it takes two people")


def disposal_of(data):
    redacts, origin, at, segment, *told = need(DISPOSAL.fullmatch(utf8(data)), "it is no redaction or destruction").groups()
    two_people(*told[:5])
    time(at)
    files = [(number(told[n]), unbase64(told[n + 1])) for n in (5, 7, 9)] if redacts else None
    return {"origin": origin, "segment": number(segment, U32), "files": files, "redacted": ranges("redacted", told[11], 1 << 64) if redacts else []}


def hold_of(data):
    origin, at, lines = need(HOLD.fullmatch(utf8(data)), "it is no hold").groups()
    need(not any(unicodedata.category(c) == "Cc" for c in lines.replace("\n", "")), "a value of the hold is not in its form")
    time(at)
    return {"origin": origin}


def dispose(s, disposal):
    """What an entry makes of the batch statement before it: rules R1 and R2 of docs/spec/retention.md."""
    need(s and not s["destroyed"], "its segment is not sealed by an entry before, or was destroyed by one")
    redacted, free = sorted(s["redacted"] + disposal["redacted"]), 0
    for first, count in sorted(redacted + s["lost"]) if disposal["files"] else ():
        need(first >= free and first + count <= s["records"], "it redacts records that are not in the segment, or were lost or redacted before")
        free = first + count
    if disposal["files"]:
        s["file"], s["map"], s["salts_file"] = disposal["files"]
        s["redacted"], s["redactions"] = redacted, s["redactions"] + 1
    s["destroyed"] = not disposal["files"]


def check_map(text, s):
    need(re.fullmatch(f"reeve-map/v1\n(?:{N} {N} {N} {N} [0-9a-f]{{8}} {H}\n)+", text, re.A), "it is no map")
    end = 0
    for line in text.split("\n")[1:-1]:
        (offset, length), (first, count), hashed = map(number, line.split()[:2]), (number(n, U32) for n in line.split()[2:4]), line.split()[5]
        need(unbase64(hashed) and offset == end and first + count <= s["records"], "a line does not follow, or names other records")
        end += length
    need(end == s["file"][0], "it does not cover the segment file")


DISPOSALS = ("reeve-redaction/v1", "reeve-destruction/v1")
KINDS = {"reeve-batch/v1": statement_of, "reeve-epoch/v1": epoch_of, "reeve-fork/v1": fork_of, "reeve-hold/v1": hold_of,
         **dict.fromkeys(DISPOSALS, disposal_of)}


def epoch_key(epoch):
    return Key.of(f"{epoch['origin']}/epoch/{epoch['epoch']}", 1, epoch["public"])


def check_epoch(epoch, checkpoint):
    """Rule E6."""
    epoch_key(epoch).open(checkpoint["note"])
    need(epoch["begins"] <= checkpoint["time"] < epoch["ends"], "it was signed outside of its key epoch")


class Follower:
    """Goes through a log from its first entry: rules E1 to E5 and the form of forks."""

    def __init__(self):
        self.last, self.fork, self.size, self.peaks = None, None, 0, []

    def take(self, leaf, entry):
        """Says what is wrong with the next entry; `None`: nothing."""
        now, fork, problem, kind = (self.size, root_of(self.peaks)), self.fork, None, entry and entry["kind"]
        self.fork = now if kind == "reeve-fork/v1" else None
        try:
            if kind == "reeve-epoch/v1":
                self.follows(entry, fork or now, fork)
            elif fork:
                raise Bad("the fork before it is not followed by an epoch")
            elif self.fork:
                need(entry["tree"] == now, "the fork names another tree than the one before it")
        except Bad as bad:
            problem = bad
        self.last = entry if kind == "reeve-epoch/v1" else self.last
        n, self.size = self.size, self.size + 1
        while n & 1:
            leaf, n = sha(b"\1", self.peaks.pop(), leaf), n >> 1
        self.peaks.append(leaf)
        return problem

    def follows(self, epoch, before, forked):
        last, seal, signature = self.last, epoch["seal"], epoch["signature"]
        need(0 < epoch["ends"] - epoch["begins"] <= DAY, "the epoch does not end within a day after it begins")
        epoch_key(epoch)
        if last is None:
            need((epoch["epoch"], seal, signature) == (0, None, None), "the log's first epoch is not 0, or seals something")
            return
        need((epoch["epoch"], epoch["origin"]) == (last["epoch"] + 1, last["origin"]), "the epoch does not follow the one before it")
        need(seal and seal[:2] == before, "the epoch seals another tree than the one before it")
        need(last["begins"] <= seal[2] < last["ends"] and seal[2] <= epoch["begins"], "the epoch seals a checkpoint from another time")
        need(forked if signature is None else epoch_key(last).signed(epoch["signed"], signature), "the epoch is not signed by the key before it")


# Time-stamps: what a response says, not whether its authority is to be trusted.

def der(data, tag):
    """Content of the first element, which has this tag, and what is behind it."""
    need(len(data) >= 2 and data[0] == tag, "the response is not in its form")
    count, at = data[1] & 127 if data[1] > 127 else 0, 2 + (data[1] & 127 if data[1] > 127 else 0)
    length = int.from_bytes(data[2:at], "big") if data[1] > 127 else data[1]
    need(data[1] < 128 or 1 <= count <= 4 and length >= 128 and data[2], "the response has a length that is not in its form")
    need(at + length <= len(data), "the response is cut off")
    return data[at:at + length], data[at + length:]


def inside(data, *tags):
    for tag in tags:
        data = der(data, tag)[0]
    return data


def stamp_of(response, hashed):
    """The time in an RFC 3161 response about this hash."""
    body, rest = der(response, 0x30)
    status, token = der(body, 0x30)
    need(not rest and inside(status, 0x02) in (b"\0", b"\1"), "the response is a refusal")
    content, rest = der(token, 0x30)
    kind, signed = der(content, 0x06)
    signed = inside(signed, 0xA0, 0x30)
    for tag in 0x02, 0x31:
        signed = der(signed, tag)[1]
    inner, info = der(inside(signed, 0x30), 0x06)
    info, after = der(inside(info, 0xA0, 0x04), 0x30)
    need(not rest and not after and kind.hex() == "2a864886f70d010702" and inner.hex() == "2a864886f70d0109100104", "the response holds no TSTInfo")
    version, info = der(info, 0x02)
    imprint, info = der(der(info, 0x06)[1], 0x30)
    algorithm, digest = der(imprint, 0x30)
    need(version == b"\1" and inside(algorithm, 0x06).hex() == "608648016503040201" and inside(digest, 0x04) == hashed, "the response is about something else")
    at = inside(der(info, 0x02)[1], 0x18).decode("latin-1")
    year, month, day, hour, minute, second, fraction = need(
        re.fullmatch(r"(\d{4})" + r"(\d\d)" * 5 + r"(?:[.](\d+))?Z", at, re.A), "the response has no time").groups()
    return time(f"{year}-{month}-{day}T{hour}:{minute}:{second}.{(fraction or '0'):0<6.6}Z")
