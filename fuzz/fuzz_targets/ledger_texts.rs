//! Proofs, keys, checkpoints and batch statements: any text is refused or read as exactly what it is; nothing unsigned convinces.
#![no_main]
use libfuzzer_sys::fuzz_target;
use reeve_ledger::{Statement, VerifierKey, verify_proof};

fuzz_target!(|text: &str| {
    if let Some(statement) = Statement::parse(text) {
        assert_eq!(statement.to_text(), text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text.trim_end_matches('\n'));
    }
    // A key nobody has signed with.
    let key = "reeve.example/record+6fea3a31+AepKbGPin7/03u+LuWocoj4bKP9arXGKGC0WoHbTEkps";
    if let Ok(key) = VerifierKey::parse(key) {
        assert!(key.open(text).is_err());
        assert!(verify_proof(text, b"raw", &key).is_err());
    }
});
