//! One question, one answer as JSON: for the command line, for programs that ask often, and for a browser that has no files.
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Checkpoint, Folder, Policy, Trust, VerifierKey, text, verify, verify_proof};

/// What is to be checked: a ledger with `dir`, or a record with `proof`, `raw` and `key`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Question {
    /// Folder of a ledger.
    pub dir: Option<PathBuf>,
    /// Text of a record's proof.
    pub proof: Option<String>,
    /// The record's bytes in base64.
    pub raw: Option<String>,
    /// The verifier key that is trusted.
    pub key: Option<String>,
    /// The key of epoch 0.
    pub root_key: Option<String>,
    /// Text of the policy that has to be met.
    pub policy: Option<String>,
    /// Leaf hashes of forks one knows of, in hex.
    pub forks: Vec<String>,
    /// Signed notes of checkpoints kept elsewhere.
    pub against: Vec<String>,
}

/// Answers a question in JSON: its members are those of [`Question`].
///
/// The answer has `verdict`: `intact`, `failed`, or `unusable` if the question is no question.
pub fn answer(question: &str) -> Value {
    match serde_json::from_str::<Question>(question) {
        Ok(question) => question.answer(),
        Err(error) => json!({ "verdict": "unusable", "why": format!("it is no question: {error}") }),
    }
}

impl Question {
    /// As [`answer`].
    pub fn answer(&self) -> Value {
        self.ask().unwrap_or_else(|why| json!({ "verdict": "unusable", "why": why }))
    }

    fn ask(&self) -> Result<Value, String> {
        let key = self.key.as_deref().map(VerifierKey::parse).transpose()?;
        let policy = self.policy.as_deref().map(Policy::parse).transpose()?;
        if let Some(dir) = &self.dir {
            let root = self.root_key.as_deref().map(VerifierKey::parse).transpose()?;
            let forks = self.forks.iter().map(|fork| text::hex(fork)?.try_into().ok()).collect::<Option<_>>();
            let forks = forks.ok_or("a fork is named by its leaf hash, 64 hex digits")?;
            text::need(self.against.iter().all(|note| Checkpoint::is_form_of(note)), "what `against` gives is no checkpoint")?;
            let report = verify(&Folder::new(dir), &Trust { key, root, policy, forks, against: self.against.clone() });
            return Ok(json!({ "verdict": report.verdict(), "report": report }));
        }
        let proof = self.proof.as_deref().ok_or("it has neither `dir` nor `proof`")?;
        let raw = self.raw.as_deref().and_then(text::bytes).ok_or("`raw` is the record's bytes in base64")?;
        let key = key.ok_or("a proof needs a `key`")?;
        Ok(match verify_proof(proof.as_bytes(), &raw, &key, policy.as_ref()) {
            Ok(proven) => json!({ "verdict": "intact", "proven": proven }),
            Err(fault) => json!({ "verdict": "failed", "faults": [fault] }),
        })
    }
}
