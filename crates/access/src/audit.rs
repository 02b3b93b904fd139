use std::sync::Arc;

use reeve_ledger::{Ledger, NewRecord};
use reeve_record::{RecordId, Transport};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::{Action, Error, Person, Role};

/// The gate: no request leaf in the audit ledger, no data.
pub struct Access {
    audit: Arc<Ledger>,
}

/// Something a person may have, made only by [`Access::ask`] after the request was made durable in the audit ledger.
pub struct Scoped<T> {
    what: T,
    person: Person,
    request: RecordId,
}

impl<T> Scoped<T> {
    /// What was asked for.
    pub fn what(&self) -> &T {
        &self.what
    }

    /// Who asked.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// The request's record in the audit ledger.
    pub fn request(&self) -> RecordId {
        self.request
    }
}

/// SHA-256 over an answer as it is sent, with the number of rows in it.
#[derive(Default, Clone)]
pub struct Digest {
    hash: sha2::Sha256,
    rows: u64,
}

impl Digest {
    /// Takes one row of the answer in.
    pub fn row(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
        self.rows += 1;
    }
}

impl Access {
    /// A gate that records into this audit ledger.
    pub fn new(audit: Arc<Ledger>) -> Self {
        Self { audit }
    }

    /// The audit ledger, for its status and proofs.
    pub fn audit(&self) -> &Arc<Ledger> {
        &self.audit
    }

    /// Asks for `what` as `person`. Returns after the request is durable in the audit ledger; a refusal is recorded as well.
    /// Blocks for one disk write: call it off the async threads.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if no role of the person allows it, [`Error::Audit`] if it could not be recorded.
    pub fn ask<T>(&self, person: &Person, action: Action, detail: Value, what: T) -> Result<Scoped<T>, Error> {
        let granted = person.may(action);
        let request = self.record(json!({
            "act": action.name(),
            "by": person,
            "at": jiff::Timestamp::now(),
            "granted": granted,
            "detail": detail,
        }))?;
        if granted {
            return Ok(Scoped { what, person: person.clone(), request });
        }
        let needs: Vec<_> = Role::ALL.into_iter().filter(|role| crate::allowed(*role, action)).map(Role::name).collect();
        Err(Error::NotAllowed { action: action.name(), needs: needs.join(" or ") })
    }

    /// Records what came of a request: rows and hash of the answer. Does not wait for the disk: the request itself is there.
    pub fn answered<T>(&self, scoped: &Scoped<T>, digest: Digest) {
        self.note(json!({
            "act": "answer",
            "to": scoped.request,
            "at": jiff::Timestamp::now(),
            "rows": digest.rows,
            "sha256": hex::encode(digest.hash.finalize()),
        }));
    }

    /// Records a sign-in, sign-out or failed try. Blocks for one disk write.
    ///
    /// # Errors
    /// [`Error::Audit`]; then the act must not go on.
    pub fn session(&self, act: &'static str, name: &str) -> Result<(), Error> {
        self.record(json!({ "act": act, "by": { "name": name }, "at": jiff::Timestamp::now() })).map(drop)
    }

    /// Records an act of Reeve itself, with what came of it. Blocks for one disk write.
    ///
    /// # Errors
    /// [`Error::Audit`]; then it is not recorded.
    pub fn own_act(&self, act: &'static str, detail: Value) -> Result<RecordId, Error> {
        self.record(json!({ "act": act, "by": { "name": "reeve" }, "at": jiff::Timestamp::now(), "detail": detail }))
    }

    fn record(&self, act: Value) -> Result<RecordId, Error> {
        let ids = self.audit.append(vec![leaf(&act)])?;
        ids.into_iter().next().ok_or_else(|| Error::Credential("the audit ledger gave no record id".to_owned()))
    }

    fn note(&self, act: Value) {
        self.audit.submit_with(vec![leaf(&act)], |outcome| {
            if let Err(error) = outcome {
                tracing::error!(%error, "the answer's hash could not be recorded in the audit ledger");
            }
        });
    }
}

fn leaf(act: &Value) -> NewRecord {
    NewRecord::new("reeve/audit", Transport::Internal, act.to_string())
}
