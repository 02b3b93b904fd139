"""Checks a signed receipt, the head of a delivery or a statement of completeness, written from docs/spec/receipt.md alone.

    receipt.py --key KEY NOTE             KEY: the verifier key of who signed, as text or the file it is in
    receipt.py --key KEY NOTE --body FILE the same, and that FILE is the body that was delivered
    receipt.py --batch                    one question a line on standard input, {"note", "key"}; one answer a line

Exit codes: 0 it holds, 2 input unusable, 3 usage, 4 it does not hold."""
import argparse, json, os, sys

from c2sp import H, N, T, Bad, Key, form, need, number, sha, time, unbase64, utf8

HEAD = form(f"reeve-delivery/v1\nsource ([^\n]*)\nepoch {N}\nfirst {N}\ncount {N}\nbody {N} {H}\nprevious {H}\nsent {T}\n")
RECEIPT = form(f"reeve-receipt/v1\norigin ([^\n]*)\nsource ([^\n]*)\nepoch {N}\nfirst {N}\ncount {N}\ndelivery {H}\nbody {N} {H}\nhead {N}-{N}\n"
               f"received {T}\n")
STATEMENT = form("reeve-completeness/v1\norigin ([^\n]*)\n([^\n]*)\n")
MEMBERS = {"": "source from to made end checkpoint unsealed read_through sources sources_left_out ledger server listeners",
           "checkpoint": "size root at", "ledger": "lost removed unreadable_segments clock_steps", "server": "starts down", "down": "from to clean",
           "sources": "source grade numbered expected received missing missing_numbers removed unknown_tails duplicates contradicting unproven late clock_ahead "
                      "unparsed silences dropped refused problems first_received last_received",
           "missing_numbers": "epoch first count", "silences": "from to", "listeners": "listener dropped refused"}
COUNT_MAX, BODY_MAX = 16384, 16 << 20


def head_of(text, key):
    source, epoch, first, count, length, body, previous, sent = need(HEAD.fullmatch(text), "it is no head").groups()
    first, count, length = number(first), number(count), number(length)
    number(epoch), time(sent)
    need(source == key.name, "its source is not the name of the key")
    need(count <= COUNT_MAX and length <= BODY_MAX and first + count < 1 << 63, "a number is too large")
    need(bool(count) == bool(length) and (first or unbase64(previous) == bytes(32)), "its figures do not agree")
    return f"delivery of {source}: {count} records from number {first} on, epoch {epoch}", (count, length, unbase64(body))


def receipt_of(text, key):
    origin, source, epoch, first, count, _, length, body, segment, index, received = need(RECEIPT.fullmatch(text), "it is no receipt").groups()
    need(origin == key.name, "its origin is not the name of the key")
    number(epoch), number(segment, (1 << 32) - 1), number(index, (1 << 32) - 1), time(received)
    need(number(count) <= COUNT_MAX, "a number is too large")
    return f"receipt of {origin}: {count} records of {source} from number {number(first)} on, epoch {epoch}, at {segment}-{index}", \
        (int(count), number(length), unbase64(body))


def ordered(value, place):
    """The members are those of the specification, in its order."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict) and place in MEMBERS:
            need(list(each) == MEMBERS[place].split(), f"the members of `{place}` are others")
            for name, inner in each.items():
                ordered(inner, name)


def statement_of(text, key):
    origin, line = need(STATEMENT.fullmatch(text), "it is no statement").groups()
    need(origin == key.name, "its origin is not the name of the key")
    try:
        said = json.loads(line)
    except ValueError:
        raise Bad("it is no JSON") from None
    need(json.dumps(said, separators=(",", ":"), ensure_ascii=False) == line, "its JSON is spelt otherwise")
    ordered(said, "")
    for source in said["sources"]:
        missing, named = source["missing"], sum(each["count"] for each in source["missing_numbers"])
        if source["numbered"]:
            need(source["expected"] - source["received"] == missing >= named, f"the figures of {source['source']} do not agree")
        else:
            need(source["expected"] is None and missing is None and not named, f"the figures of {source['source']} do not agree")
    names = [source["source"] for source in said["sources"]]
    need(sorted(set(names), key=str.encode) == names, "its sources are not in order")
    return f"statement of {origin} about {said['source']}: {len(names)} sources, made {said['made']}", None


def told_of(note, key, body=None):
    """What a note says, if it holds."""
    text = key.open(note)
    kinds = {"reeve-delivery/v1": head_of, "reeve-receipt/v1": receipt_of, "reeve-completeness/v1": statement_of}
    kind = text.split("\n")[0]
    need(kind in kinds, "it is of a kind that is not known")
    try:
        told, delivered = kinds[kind](text, key)
    except (KeyError, TypeError):
        raise Bad("a figure is not what it should be") from None
    need(body is None or delivered == (body.count(b"\n"), len(body), sha(body)), "the body is another")
    return told


def batch():
    for line in sys.stdin:
        question = json.loads(line)
        try:
            print(json.dumps({"verdict": "holds", "told": told_of(question["note"], Key(question["key"]))}), flush=True)
        except Bad as why:
            print(json.dumps({"verdict": "failed", "why": str(why)}), flush=True)
    return 0


def main():
    if sys.argv[1:] == ["--batch"]:
        return batch()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", required=True)
    parser.add_argument("--body")
    parser.add_argument("note")
    args = parser.parse_args()
    try:
        key = Key(open(args.key).read() if os.path.exists(args.key) else args.key)
        note = utf8(open(args.note, "rb").read())
        body = open(args.body, "rb").read() if args.body else None
    except (OSError, Bad) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        told = told_of(note, key, body)
    except Bad as why:
        print(f"failed: {why}")
        return 4
    print(f"holds: {told}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as ended:
        raise SystemExit(3 if ended.code == 2 and len(sys.argv) < 4 else ended.code) from None
