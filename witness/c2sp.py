"""What the witness and the verifier share: spelling, C2SP signed notes and checkpoints, Merkle trees (docs/spec/log.md, docs/spec/record.md)."""
import base64, binascii, datetime, functools, hashlib, re, unicodedata

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

U64 = (1 << 64) - 1
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
    """A verifier key, and the notes it signs."""

    def __init__(self, text):
        self.name, key_id, blob = need(re.fullmatch(r"([^+]+)\+([^+]*)\+(.*?)\n*", text), "a verifier key is `name+id+key`").groups()
        self.blob = unbase64(blob)
        need(len(self.blob) == 33 and self.blob[0] == 1, "only Ed25519 keys are known")
        odd = any(c.isspace() or unicodedata.category(c) == "Cc" for c in self.name)
        need(not odd and len(self.name.encode()) <= 255, "the name of the key is not in its form")
        self.id = sha(self.name.encode(), b"\n", self.blob)[:4]
        need(key_id == self.id.hex(), "the id of the key is not that of its name and bytes")
        self.text = f"{self.name}+{key_id}+{blob}\n"

    def open(self, note):
        """The text of a signed note."""
        signed, parting, block = note.rpartition("\n\n")
        need(parting and block.endswith("\n"), "it has no signature block")
        signed, good = signed + "\n", 0
        for line in block[:-1].split("\n"):
            name, blob = need(re.fullmatch("— ([^ ]*) (.*)", line), "it has a broken signature line").groups()
            need(len(blob := unbase64(blob)) >= 4, "it has a signature that is too short")
            if name == self.name and blob[:4] == self.id:
                need(len(blob) == 68 and not is_small(blob[4:36]) and not is_small(self.blob[1:]), "it has a signature of the wrong form")
                try:
                    Ed25519PublicKey.from_public_bytes(self.blob[1:]).verify(blob[4:], signed.encode())
                except (InvalidSignature, ValueError):
                    raise Bad("it has a signature that does not fit its text") from None
                good += 1
        need(good, f"it is not signed by `{self.name}`")
        return signed


def is_small(point):
    """Whether it is of order 1, 2, 4 or 8: y is 1, -1 or 0, or becomes 0 when the point is doubled."""
    p = 2**255 - 19
    y, d = (int.from_bytes(point, "little") & (1 << 255) - 1) % p, -121665 * pow(121666, -1, p)
    return y in (0, 1, p - 1) or (d * pow(y, 4, p) + 2 * y * y - 1) % p == 0


def checkpoint_of(note, key):
    need(len(note) <= 65536, "it is too long")
    origin, size, root_, at = need(CHECKPOINT.fullmatch(key.open(utf8(note))), "it is signed but no checkpoint").groups()
    need(origin == key.name, "it is of another origin than its key")
    time(at)
    return {"origin": origin, "size": number(size), "root": unbase64(root_), "signed": at}


def leaf_hash(data):
    return sha(b"\0", data)


def root(leaves):
    peaks = []
    for n, leaf in enumerate(leaves):
        while n & 1:
            leaf, n = sha(b"\1", peaks.pop(), leaf), n >> 1
        peaks.append(leaf)
    return functools.reduce(lambda right, left: sha(b"\1", left, right), reversed(peaks)) if peaks else sha()


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
