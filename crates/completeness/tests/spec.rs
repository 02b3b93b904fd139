//! The worked example of `docs/spec/receipt.md`, recomputed, and every bit of it flipped.
#![allow(clippy::unwrap_used, reason = "a test stops where it is wrong")]
use reeve_completeness::{Head, Notice, Receipt, ReceiptFault, check_statement};
use reeve_ledger::NoteKey;

const SPEC: &str = include_str!("../../../docs/spec/receipt.md");

/// The indented block after a line.
fn block(after: &str) -> String {
    let rest = SPEC.split_once(&format!("\n{after}\n\n")).unwrap().1;
    let lines = rest.split('\n').take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: String = lines.map(|line| format!("{}\n", line.trim_start())).collect();
    text.trim_end().to_owned() + "\n"
}

fn keys() -> (NoteKey, NoteKey) {
    (NoteKey::new("edge/web1", &[0x31; 32]).unwrap(), NoteKey::new("reeve.example/record", &[7; 32]).unwrap())
}

/// The texts that differ from `text` in one bit and are still text.
fn flipped(text: &str) -> impl Iterator<Item = String> + '_ {
    (0..text.len() * 8).filter_map(move |bit| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        String::from_utf8(bytes).ok()
    })
}

#[test]
fn heads_and_receipt_are_what_this_code_writes() {
    let (source, ledger) = keys();
    assert_eq!(block("Verifier key of the source:").trim_end(), source.verifier().to_string());
    let first = Head::over("edge/web1", 0, 0, 2, b"one\ntwo\n", [0; 32], "2026-01-05T09:12:44Z".parse().unwrap());
    assert_eq!(block("Head:"), first.sign(&source));
    let beat = Head::over("edge/web1", 0, 2, 0, b"", first.hash(), "2026-01-05T09:13:44Z".parse().unwrap());
    assert_eq!(block("A heartbeat a minute later:"), beat.sign(&source));
    assert_eq!(Head::open(&block("Head:"), source.verifier()), Ok(first.clone()));
    assert!(first.records(&"one\ntwo\n".into()).is_ok_and(|records| records == ["one", "two"]));
    for wrong in ["one\ntwo", "one\n\nwo\n", "one\ntwO\n", ""] {
        assert!(first.records(&wrong.into()).is_err(), "{wrong:?}");
    }
    let receipt = Receipt {
        source: "edge/web1".into(),
        epoch: 0,
        first: 0,
        count: 2,
        delivery: first.hash(),
        body_bytes: 8,
        body_hash: first.body_hash,
        head: "7-2".parse().unwrap(),
        received: "2026-01-05T09:12:44.123456Z".parse().unwrap(),
    };
    let text = format!("reeve-receipt/v1\norigin reeve.example/record\n{}", receipt.to_lines());
    assert_eq!(block("Receipt:"), ledger.sign(&text));
    assert_eq!(Receipt::open(&block("Receipt:"), ledger.verifier()), Ok(receipt));
}

#[test]
fn no_flipped_bit_and_no_other_key_passes() {
    let (source, ledger) = keys();
    for text in flipped(&block("Head:")) {
        assert!(Head::open(&text, source.verifier()).is_err(), "{text}");
    }
    for text in flipped(&block("Receipt:")) {
        assert!(Receipt::open(&text, ledger.verifier()).is_err(), "{text}");
    }
    let other = NoteKey::new("reeve.example/record", &[8; 32]).unwrap();
    assert!(matches!(Receipt::open(&block("Receipt:"), other.verifier()), Err(ReceiptFault::Signature(_))));
    // A head signed by the ledger, and a statement shown as a receipt, are neither.
    let head = block("Head:");
    let text = head.split_once("\n\n").unwrap().0.to_owned() + "\n";
    assert!(Head::open(&ledger.sign(&text), ledger.verifier()).is_err(), "the source of the head is not the key's name");
    assert!(Receipt::open(&block("A statement about that hour:"), ledger.verifier()).is_err());
}

#[test]
fn a_signed_text_in_another_form_is_refused() {
    let (source, ledger) = keys();
    let resigned = |note: &str, from: &str, to: &str, key: &NoteKey| {
        let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
        assert!(text.contains(from), "{from} in {text}");
        key.sign(&text.replace(from, to))
    };
    for (from, to) in [
        ("count 2", "count 02"),
        ("count 2", "count 16385"),
        ("first 0", "first 9223372036854775808"),
        ("body 8", "body 16777217"),
        ("44.000000Z", "44Z"),
        ("epoch 0\n", "epoch 0\n\u{20}"),
        ("count 2", "count 0"),
        ("source edge/web1", "source edge/web2"),
        ("previous AAAA", "previous BAAA"),
    ] {
        let note = resigned(&block("Head:"), from, to, &source);
        assert!(Head::open(&note, source.verifier()).is_err(), "{note}");
    }
    for (from, to) in
        [("head 7-2", "head 07-2"), ("first 0", "first -0"), ("received 2", "received +2"), ("origin reeve", "origin rEeve")]
    {
        let note = resigned(&block("Receipt:"), from, to, &ledger);
        assert!(Receipt::open(&note, ledger.verifier()).is_err(), "{note}");
    }
    let statement = block("A statement about that hour:");
    for (from, to) in [
        ("\"missing\":3", "\"missing\":2"),
        ("\"received\":2", "\"received\":3"),
        ("\"count\":3", "\"count\":4"),
        ("\"numbered\":true", "\"numbered\":false"),
        ("\"late\":0", "\"late\": 0"),
        ("\"late\":0", "\"late\":0,\"more\":0"),
        ("\"late\":0,", ""),
        ("09:00:00Z", "09:00:00.0Z"),
    ] {
        let note = resigned(&statement, from, to, &ledger);
        assert!(check_statement(&note, ledger.verifier()).is_err(), "{note}");
    }
}

#[test]
fn the_statement_is_read_and_no_flipped_bit_of_it_is() {
    let (_, ledger) = keys();
    let note = block("A statement about that hour:");
    let statement = check_statement(&note, ledger.verifier()).unwrap();
    assert_eq!((statement.sources[0].expected, statement.sources[0].missing), (Some(5), Some(3)));
    assert!(note.contains(&format!("\n{}\n", statement.to_json())));
    for text in flipped(&note) {
        assert!(check_statement(&text, ledger.verifier()).is_err(), "{text}");
    }
}

#[test]
fn a_notice_has_this_text() {
    let text = block("Notice of the gap, had a heartbeat said `first 5`:");
    let notice: Notice = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(serde_json::to_string(&notice).unwrap(), text.trim_end());
    assert_eq!((notice.source(), notice.rule()), ("edge/web1", Some("reeve.sequence.gap")));
}
