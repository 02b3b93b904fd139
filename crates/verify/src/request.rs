//! One question as a line of JSON, one answer as a line of JSON: for programs that ask often, and for a browser that has no files.
use serde_json::{Value, json};

use crate::{Folder, VerifierKey, text, verify, verify_proof};

/// Answers `{"proof": text, "raw": base64, "key": text}` or `{"dir": path, "key": text}` (here `key` may be missing).
///
/// The answer has `verdict`: `intact`, `failed`, or `unusable` if the question is no question.
pub fn answer(question: &str) -> Value {
    ask(question).unwrap_or_else(|why| json!({ "verdict": "unusable", "why": why }))
}

fn ask(question: &str) -> Result<Value, String> {
    let question: Value = serde_json::from_str(question).map_err(|error| format!("it is not JSON: {error}"))?;
    let part = |name: &str| question.get(name).and_then(Value::as_str);
    let key = part("key").map(VerifierKey::parse).transpose()?;
    if let Some(dir) = part("dir") {
        return Ok(verify(&Folder::new(dir), key.as_ref()).to_json());
    }
    let proof = part("proof").ok_or("it has neither `dir` nor `proof`")?;
    let raw = part("raw").and_then(text::bytes).ok_or("`raw` is the record's bytes in base64")?;
    let key = key.ok_or("a proof needs a `key`")?;
    Ok(match verify_proof(proof.as_bytes(), &raw, &key) {
        Ok(proven) => json!({ "verdict": "intact", "proven": proven.to_json() }),
        Err(fault) => json!({ "verdict": "failed", "faults": [fault.to_json()] }),
    })
}
