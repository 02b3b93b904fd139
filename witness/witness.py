#!/usr/bin/env python3
"""A witness: remembers how large each log was, and cosigns only what continues it.

Written from C2SP (tlog-witness, tlog-cosignature, tlog-checkpoint, signed-note) and docs/spec/log.md alone; it shares no code with Reeve.

    witness.py keygen NAME KEYFILE                       makes a key, prints the verifier key for policies
    witness.py serve --key KEYFILE --state DIR --listen HOST:PORT --log VKEY [--log VKEY ...] [--tls-cert FILE --tls-key FILE]
    witness.py rollback --state DIR --origin ORIGIN --size N --root BASE64 --reason TEXT
                                                         takes the record of a log back, for a fork its operators were convinced of

Needs Python 3.9 or later and `cryptography`.
"""
import argparse
import base64
import binascii
import fcntl
import hashlib
import http.server
import json
import os
import re
import ssl
import sys
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ED25519, COSIGNATURE = 1, 4
BODY_MAX = 256 << 10
PROOF_MAX = 63


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    """Standard base64 with padding, in its one spelling."""
    data = base64.b64decode(text, validate=True)
    if b64(data) != text:
        raise ValueError("not canonical base64")
    return data


def key_id(name, algorithm, public):
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public)[:4]


def raw_public(key):
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def verifier_key(name, algorithm, public):
    return f"{name}+{key_id(name, algorithm, public).hex()}+{b64(bytes([algorithm]) + public)}"


def parse_log_key(text):
    """The origin, key id and public key of a log's verifier key."""
    name, number, data = text.strip().split("+", 2)
    data = unb64(data)
    if data[0] != ED25519 or len(data) != 33:
        raise ValueError(f"`{text}` is not an Ed25519 verifier key")
    if key_id(name, ED25519, data[1:]).hex() != number:
        raise ValueError(f"`{text}` has an id that is not that of name and key")
    return name, bytes.fromhex(number), Ed25519PublicKey.from_public_bytes(data[1:])


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status, body, content_type="text/plain; charset=utf-8"):
        super().__init__(body)
        self.status, self.body, self.content_type = status, body, content_type


def decimal(text):
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII):
        raise ValueError(f"`{text[:40]}` is no decimal number")
    return int(text)


class Request:
    """The body of add-checkpoint."""

    def __init__(self, body):
        try:
            head, note = body.decode("utf-8").split("\n\n", 1)
            lines = head.split("\n")
            if not lines[0].startswith("old ") or len(lines) > 1 + PROOF_MAX:
                raise ValueError("it does not begin with `old SIZE` and at most 63 hashes")
            self.old = decimal(lines[0][4:])
            self.proof = [unb64(line) for line in lines[1:]]
            if any(len(node) != 32 for node in self.proof):
                raise ValueError("a hash has not 32 bytes")
            self.text, self.signatures = split_note(note)
            fields = self.text.split("\n")
            if len(fields) < 4 or "" in fields[:-1]:
                raise ValueError("the checkpoint has fewer than three lines, or an empty one")
            self.origin, self.size, self.root = fields[0], decimal(fields[1]), unb64(fields[2])
            if len(self.root) != 32:
                raise ValueError("the root has not 32 bytes")
        except (ValueError, IndexError, binascii.Error) as error:
            raise Refusal(400, f"the request cannot be read: {error}\n")


def split_note(note):
    """Text with its last line break, and signature lines as (name, key id, signature, line)."""
    if any(ord(c) < 0x20 and c != "\n" for c in note) or not note.endswith("\n") or "\n\n" not in note:
        raise ValueError("not a signed note")
    text, lines = note[:-1].rsplit("\n\n", 1)
    signatures = []
    for line in lines.split("\n"):
        dash, name, blob = line.split(" ")
        blob = unb64(blob)
        if dash != "\u2014" or not name or len(blob) < 5:
            raise ValueError("a broken signature line")
        signatures.append((name, blob[:4], blob[4:], line + "\n"))
    return text + "\n", signatures


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def is_consistent(old, old_root, new, new_root, proof):
    """RFC 9162, section 2.1.4.2, for 0 < old < new."""
    proof = list(proof)
    if old & (old - 1) == 0:
        proof.insert(0, old_root)
    if not proof:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    left = right = proof[0]
    for node in proof[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            left, right = node_hash(node, left), node_hash(node, right)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            right = node_hash(right, node)
        at, last = at >> 1, last >> 1
    return last == 0 and left == old_root and right == new_root


class Memory:
    """What was cosigned last of each log, on disk before anybody is told. One process at a time."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.holder = open(os.path.join(folder, "lock"), "w")
        try:
            fcntl.flock(self.holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"witness: `{folder}` is in use by another process")

    def path(self, origin):
        return os.path.join(self.folder, sha256(origin.encode()).hex())

    def read(self, origin):
        """Size, root and note. A file that cannot be read is an error: forgetting would let a log go back."""
        try:
            with open(self.path(origin), encoding="utf-8", newline="") as file:
                size, root, note = file.read().split("\n", 2)
                return decimal(size), unb64(root), note
        except FileNotFoundError:
            return 0, sha256(b""), None

    def write(self, origin, size, root, note):
        path = self.path(origin)
        with open(path + ".tmp", "w", encoding="utf-8", newline="") as file:
            file.write(f"{size}\n{b64(root)}\n{note}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".tmp", path)
        self.sync_folder()

    def note_down(self, line):
        """A line in the history, for what may not happen unseen."""
        with open(os.path.join(self.folder, "history"), "a", encoding="utf-8") as file:
            file.write(json.dumps({"at": int(time.time()), **line}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.sync_folder()

    def sync_folder(self):
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Witness:
    def __init__(self, name, key, memory, logs):
        self.name, self.key, self.memory = name, key, memory
        self.id = key_id(name, COSIGNATURE, raw_public(key.public_key()))
        self.logs = {}
        for origin, number, public in logs:
            self.logs.setdefault(origin, {})[number] = public
        self.lock = threading.Lock()

    def add_checkpoint(self, body):
        request = Request(body)
        if request.origin not in self.logs:
            raise Refusal(404, "unknown log\n")
        own = self.check_signature(request)
        if request.old > request.size:
            raise Refusal(400, "the old size is above that of the checkpoint\n")
        # Comparing and storing are one step: else two requests could be compared with the same size and the smaller stored last.
        with self.lock:
            size, root, _ = self.memory.read(request.origin)
            if request.old != size:
                raise Refusal(409, f"{size}\n", "text/x.tlog.size")
            problem = check_tree(request, size, root)
            if problem:
                self.memory.note_down({"refused": request.origin, "old": size, "size": request.size, "why": problem})
                raise Refusal(422, problem + "\n")
            line = self.cosign(request.text)
            # Durable before the answer: a witness that forgets what it signed could be led back.
            self.memory.write(request.origin, request.size, request.root, request.text + "\n" + "".join(own) + line)
            return line

    def check_signature(self, request):
        """The lines by keys trusted for this origin; each must fit, and one must be there."""
        lines = []
        for name, number, signature, line in request.signatures:
            public = self.logs[request.origin].get(number) if name == request.origin else None
            if public is None:
                continue
            try:
                public.verify(signature, request.text.encode())
            except InvalidSignature:
                raise Refusal(403, "a signature does not fit\n")
            lines.append(line)
        if not lines:
            raise Refusal(403, "not signed by a key trusted for this log\n")
        return lines

    def cosign(self, text):
        now = int(time.time())
        signature = self.key.sign(f"cosignature/v1\ntime {now}\n{text}".encode())
        return f"\u2014 {self.name} {b64(self.id + now.to_bytes(8, 'big') + signature)}\n"

    def checkpoint(self, origin_hash):
        for origin in self.logs:
            if sha256(origin.encode()).hex() == origin_hash:
                with self.lock:
                    note = self.memory.read(origin)[2]
                if note:
                    return note
        raise Refusal(404, "nothing cosigned\n")


def check_tree(request, size, root):
    """Why the checkpoint does not continue what is remembered; None if it does."""
    if request.size == 0 and request.root != sha256(b""):
        return "the root of an empty tree is the hash of nothing"
    if size == 0:
        return "from size 0 there is nothing to prove" if request.proof else None
    if size == request.size:
        if request.proof or request.root != root:
            return "another root of the same size" if request.root != root else "the same size needs no proof"
        return None
    return None if is_consistent(size, root, request.size, request.root, request.proof) else "the proof does not hold"


def handler(witness):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self):
            try:
                length = decimal(self.headers.get("Content-Length", ""))
            except ValueError:
                length = BODY_MAX + 1
            if length > BODY_MAX:
                self.close_connection = True
                return self.answer(413, "a Content-Length of at most 256 KiB is needed\n")
            body = self.rfile.read(length)
            if not self.path.endswith("/add-checkpoint"):
                return self.answer(404, "only add-checkpoint is known\n")
            self.respond(lambda: witness.add_checkpoint(body))

        def do_GET(self):
            parts = self.path.split("/")
            if len(parts) < 3 or parts[-1] != "checkpoint":
                return self.answer(404, "only ORIGIN-HASH/checkpoint is known\n")
            self.respond(lambda: witness.checkpoint(parts[-2]))

        def respond(self, act):
            try:
                self.answer(200, act())
            except Refusal as refusal:
                self.answer(refusal.status, refusal.body, refusal.content_type)
            except (OSError, ValueError) as error:
                print(f"witness: {error}", file=sys.stderr)
                self.answer(500, "the witness's own record failed\n")

        def answer(self, status, body, content_type="text/plain; charset=utf-8"):
            body = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, form, *args):
            print(f"witness: {form % args}", file=sys.stderr)

    return Handler


def read_key(path):
    with open(path, encoding="utf-8") as file:
        name, seed = file.read().split()
    return name, Ed25519PrivateKey.from_private_bytes(unb64(seed))


def keygen(args):
    if not args.name or re.search(r"[\s+]", args.name):
        sys.exit("witness: a name has no spaces and no `+`")
    key = Ed25519PrivateKey.generate()
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    with os.fdopen(os.open(args.keyfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{args.name} {b64(seed)}\n")
    print(verifier_key(args.name, COSIGNATURE, raw_public(key.public_key())))


def serve(args):
    name, key = read_key(args.key)
    witness = Witness(name, key, Memory(args.state), [parse_log_key(text) for text in args.log])
    host, _, port = args.listen.rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), handler(witness))
    server.daemon_threads = True
    if args.tls_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.tls_cert, args.tls_key)
        # The handshake is the connection's own thread's, so that one that never comes to it keeps nobody waiting.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    address = f"http{'s' if args.tls_cert else ''}://{host}:{server.server_address[1]}"
    vkey = verifier_key(name, COSIGNATURE, raw_public(key.public_key()))
    print(json.dumps({"ready": True, "url": address, "vkey": vkey}), flush=True)
    server.serve_forever()


def rollback(args):
    memory = Memory(args.state)
    size, root, note = memory.read(args.origin)
    if args.size >= size or not args.reason.strip():
        sys.exit(f"witness: {args.origin} has {size} entries; a rollback goes below that and says why")
    new_root = unb64(args.root)
    if len(new_root) != 32 or (args.size == 0 and new_root != sha256(b"")):
        sys.exit("witness: that is no root")
    # The history first: a crash in between leaves a line about something that did not happen, never the other way round.
    gone = {"size": size, "root": b64(root), "note": note}
    memory.note_down({"rollback": args.origin, "from": gone, "to": {"size": args.size, "root": args.root}, "reason": args.reason})
    memory.write(args.origin, args.size, new_root, "")
    print(f"{args.origin}: from {size} back to {args.size} entries; noted in {os.path.join(args.state, 'history')}")


def main():
    parser = argparse.ArgumentParser(description="A witness of transparency logs (C2SP tlog-witness).")
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("keygen", help="make a key, print its verifier key")
    make.add_argument("name", help="name of the witness, as in witness.example/w1")
    make.add_argument("keyfile", help="new file for the private key")
    make.set_defaults(run=keygen)
    run = commands.add_parser("serve", help="take checkpoints; prints one JSON line when ready")
    run.add_argument("--key", required=True, help="file that keygen made")
    run.add_argument("--state", required=True, help="folder of what was cosigned")
    run.add_argument("--listen", default="127.0.0.1:8430", help="HOST:PORT, port 0 takes any [default: 127.0.0.1:8430]")
    run.add_argument("--log", action="append", required=True, help="verifier key of a log to watch; may be given again")
    run.add_argument("--tls-cert", help="certificate chain in PEM: serve https")
    run.add_argument("--tls-key", help="its private key in PEM, if that is in another file")
    run.set_defaults(run=serve)
    back = commands.add_parser("rollback", help="take the record of a log back, for a fork its operators were convinced of")
    back.add_argument("--state", required=True)
    back.add_argument("--origin", required=True)
    back.add_argument("--size", required=True, type=int, help="entries the log had at the fork")
    back.add_argument("--root", required=True, help="its root then, base64")
    back.add_argument("--reason", required=True)
    back.set_defaults(run=rollback)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
