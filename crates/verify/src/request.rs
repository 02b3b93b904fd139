//! One question as a line of JSON, one answer as a line of JSON: for programs that ask often, and for a browser that has no files.
use serde_json::{Value, json};

use crate::{Folder, Hash, Policy, Trust, VerifierKey, text, verify, verify_proof};

/// Answers `{"proof": text, "raw": base64, "key": text}` or `{"dir": path, "key": text, "root_key": text, "forks": [hex]}`, both with `"policy": text`;
/// of these, a folder needs none, and a proof the key.
///
/// The answer has `verdict`: `intact`, `failed`, or `unusable` if the question is no question.
pub fn answer(question: &str) -> Value {
    ask(question).unwrap_or_else(|why| json!({ "verdict": "unusable", "why": why }))
}

fn ask(question: &str) -> Result<Value, String> {
    let question: Value = serde_json::from_str(question).map_err(|error| format!("it is not JSON: {error}"))?;
    let part = |name: &str| question.get(name).and_then(Value::as_str);
    let key = part("key").map(VerifierKey::parse).transpose()?;
    let policy = part("policy").map(Policy::parse).transpose()?;
    if let Some(dir) = part("dir") {
        let root = part("root_key").map(VerifierKey::parse).transpose()?;
        let forks = question.get("forks").and_then(Value::as_array).into_iter().flatten();
        let forks = forks.map(|fork| fork_hash(fork.as_str().unwrap_or_default())).collect::<Result<_, _>>()?;
        let report = verify(&Folder::new(dir), &Trust { key, root, policy, forks });
        return Ok(json!({ "verdict": report.verdict(), "report": report }));
    }
    let proof = part("proof").ok_or("it has neither `dir` nor `proof`")?;
    let raw = part("raw").and_then(text::bytes).ok_or("`raw` is the record's bytes in base64")?;
    let key = key.ok_or("a proof needs a `key`")?;
    Ok(match verify_proof(proof.as_bytes(), &raw, &key, policy.as_ref()) {
        Ok(proven) => json!({ "verdict": "intact", "proven": proven }),
        Err(fault) => json!({ "verdict": "failed", "faults": [fault] }),
    })
}

/// The leaf hash of a fork, from hex.
///
/// # Errors
/// It is not 64 hex digits.
pub fn fork_hash(hex: &str) -> Result<Hash, String> {
    text::hex(hex).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| format!("`{hex}` is no leaf hash: 64 hex digits"))
}
