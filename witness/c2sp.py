"""What the witness and the verifier share: spelling, C2SP signed notes and checkpoints, Merkle trees (docs/spec/log.md, docs/spec/record.md)."""
import base64, binascii, datetime, functools, hashlib, re, unicodedata

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

U64, WIDTH = (1 << 64) - 1, 256
EARLIEST, LATEST = -377705023201000000, 253402207200999999
# Numbers, hashes, times: converted, and bounded, where they are used.
N, H, T = "(0|[1-9][0-9]*)", "([A-Za-z0-9+/]{43}=)", r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"
form = functools.partial(re.compile, flags=re.A)
CHECKPOINT = form(f"([^\n]*)\n{N}\n{H}\ntime {T}\n")


class Bad(Exception):
    """Something is not in its form, or does not hold; the message says what."""


def need(condition, what):
    if not condition:
        raise Bad(what)
    return condition


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def number(text, most=U64):
    need(len(text) <= 20 and int(text) <= most, "a number is too large")
    return int(text)


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Bad("base64 is not in its form") from None
    need(base64.b64encode(data).decode() == text, "base64 is not in its one form")
    return data


def time(text):
    try:
        since = datetime.datetime.fromisoformat(text[:-1]) - datetime.datetime(1970, 1, 1)
    except ValueError:
        raise Bad("a time is no real time") from None
    need((at := since // datetime.timedelta(microseconds=1)) <= LATEST, "a time is out of range")
    return at


def utf8(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Bad("it is not UTF-8") from None


class Key:
    """A verifier key of a log or an epoch (algorithm 1) or a witness (4), and the notes it signs."""

    def __init__(self, text, algorithm=1):
        name, key_id, blob = need(re.fullmatch(r"([^+]*)\+([^+]*)\+(.*?)\n*", text), "a verifier key is `name+id+key`").groups()
        blob = unbase64(blob)
        need(len(blob) == 33 and blob[0] == algorithm, "the key is of another algorithm")
        odd = not name or any(c.isspace() or unicodedata.category(c) == "Cc" for c in name)
        need(not odd and len(name.encode()) <= 255, "the name of the key is not in its form")
        self.name, self.blob, self.id = name, blob, sha(name.encode(), b"\n", blob)[:4]
        need(key_id == self.id.hex(), "the id of the key is not that of its name and bytes")
        self.text = text.rstrip("\n") + "\n"

    @classmethod
    def of(cls, name, algorithm, public):
        blob = bytes([algorithm]) + public
        key_id = sha(name.encode(), b"\n", blob)[:4].hex()
        return cls(f"{name}+{key_id}+{base64.b64encode(blob).decode()}", algorithm)

    def signed(self, message, signature):
        if len(signature) != 64 or is_small(signature[:32]) or is_small(self.blob[1:]):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.blob[1:]).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def lines(self, note):
        """The text of a note, and the signatures in lines that name this key."""
        signed, parting, block = note.rpartition("\n\n")
        need(parting and block.endswith("\n"), "it has no signature block")
        found = []
        for line in block[:-1].split("\n"):
            name, blob = need(re.fullmatch("— ([^ ]*) (.*)", line), "it has a broken signature line").groups()
            need(len(blob := unbase64(blob)) >= 4, "it has a signature that is too short")
            found += [blob[4:]] if name == self.name and blob[:4] == self.id else []
        return signed + "\n", found

    def open(self, note):
        """The text of a note that this key signed."""
        signed, found = self.lines(note)
        need(found, f"it is not signed by `{self.name}`")
        need(all(self.signed(signed.encode(), each) for each in found), "it has a signature that does not fit its text")
        return signed

    def cosigned(self, note):
        """Whether this witness cosigned the note."""
        signed, found = self.lines(note)
        for each in found:
            seconds = int.from_bytes(each[:8], "big")
            fits = len(each) == 72 and seconds < 1 << 63 and self.signed(f"cosignature/v1\ntime {seconds}\n{signed}".encode(), each[8:])
            need(fits, "it has a cosignature that does not fit its text")
        return bool(found)


class Policy:
    """Who must have cosigned (docs/spec/log.md, *Policy*)."""

    def __init__(self, text):
        self.logs, self.witnesses, self.names, self.quorum, self.keys, logs, groups = {}, [], {}, None, set(), 0, 0
        need(len(text.encode()) <= 65536 and not re.search("[\x00-\x08\x0b-\x1f\x7f]", text), "the policy is too long or has control characters")
        for line in text.split("\n"):
            items = [item for item in re.split("[ \t]", line) if item]
            if not items or items[0].startswith("#"):
                continue
            if items[0] == "log" and len(items) in (2, 3):
                key, logs = self.new_key(items[1], 1), logs + 1
                self.logs.setdefault(key.name, key)
            elif items[0] == "witness" and len(items) in (3, 4):
                self.witnesses.append(self.new_key(items[2], 4))
                self.define(items[1], (1, [len(self.witnesses) - 1]))
            elif items[0] == "group" and len(items) > 3:
                groups, members = groups + 1, [self.names[name] for name in items[3:] if name in self.names]
                need(len(members) == len(items) - 3, "a member of a group is not known")
                for member in members:
                    need(not member["taken"], "a member is in a group already")
                    member["taken"] = True
                plain = items[2] in ("all", "any") or re.fullmatch(N, items[2], re.A)
                count = {"all": len(members), "any": 1}.get(items[2]) or number(need(plain, "a group's number is none") and items[2])
                need(1 <= count <= len(members), "a group's number is not one of its members'")
                self.define(items[1], (count, [member["what"] for member in members]))
            elif items[0] == "quorum" and len(items) == 2 and self.quorum is None:
                self.quorum = (0, []) if items[1] == "none" else need(self.names.get(items[1]), "the quorum is not known")["what"]
            else:
                raise Bad("a line of the policy is not in its form")
        need(self.quorum is not None and max(len(self.witnesses), groups, 2 * logs) <= 64, "the policy has no quorum, or is too large")

    def new_key(self, text, algorithm):
        key = Key(text, algorithm)
        need(key.blob[1:] not in self.keys, "a key is there twice")
        self.keys.add(key.blob[1:])
        return key

    def define(self, name, what):
        need(name != "none" and name not in self.names, "a name is taken")
        self.names[name] = {"what": what, "taken": False}

    def check(self, note):
        cosigned = [witness.cosigned(note) for witness in self.witnesses]

        def met(what):
            return cosigned[what] if isinstance(what, int) else sum(met(member) for member in what[1]) >= what[0]
        need(met(self.quorum), f"it has {sum(cosigned)} cosignatures, which are no quorum of the policy")


def is_small(point):
    """Whether it is of order 1, 2, 4 or 8: y is 1, -1 or 0, or becomes 0 when the point is doubled."""
    p = 2**255 - 19
    y, d = (int.from_bytes(point, "little") & (1 << 255) - 1) % p, -121665 * pow(121666, -1, p)
    return y in (0, 1, p - 1) or (d * pow(y, 4, p) + 2 * y * y - 1) % p == 0


def checkpoint_of(note, key):
    need(len(note) <= 65536, "it is too long")
    origin, size, root_, at = need(CHECKPOINT.fullmatch(key.open(utf8(note))), "it is signed but no checkpoint").groups()
    need(origin == key.name, "it is of another origin than its key")
    return {"origin": origin, "size": number(size), "root": unbase64(root_), "signed": at, "time": time(at), "note": utf8(note)}


def leaf_hash(data):
    return sha(b"\0", data)


def root_of(peaks):
    """The root over perfect subtrees, largest first."""
    return functools.reduce(lambda right, left: sha(b"\1", left, right), reversed(peaks)) if peaks else sha()


def root(leaves):
    peaks = []
    for n, leaf in enumerate(leaves):
        while n & 1:
            leaf, n = sha(b"\1", peaks.pop(), leaf), n >> 1
        peaks.append(leaf)
    return root_of(peaks)


def root_of_path(leaf, index, size, path):
    need(index < size, "a place is outside its tree")
    last, path = size - 1, iter(path)
    while last:
        if index & 1 or index < last:
            other = need(next(path, None), "a path is too short")
            leaf = sha(b"\1", other, leaf) if index & 1 else sha(b"\1", leaf, other)
        index, last = index >> 1, last >> 1
    need(next(path, None) is None, "a path is too long")
    return leaf


# Tiles: docs/spec/log.md, Entries.

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
