//! Heads, receipts and statements: any text is refused unless its key signed it; what a key did sign is refused or read as exactly what it is.
#![no_main]
use libfuzzer_sys::fuzz_target;
use reeve_completeness::{Head, Notice, Receipt, check_statement};
use reeve_ledger::NoteKey;

fuzz_target!(|text: &str| {
    let Ok(key) = NoteKey::new("edge/web1", &[7; 32]) else { return };
    for note in [text.to_owned(), key.sign(&format!("{text}\n"))] {
        if let Ok(head) = Head::open(&note, key.verifier()) {
            assert_eq!(head.sign(&key), note);
            let _ = head.records(&text.to_owned().into());
        }
        if let Ok(receipt) = Receipt::open(&note, key.verifier()) {
            assert!(note.contains(&receipt.to_lines()));
        }
        if let Ok(statement) = check_statement(&note, key.verifier()) {
            assert!(note.contains(&statement.to_json()));
        }
    }
    let _ = serde_json::from_str::<Notice>(text);
});
