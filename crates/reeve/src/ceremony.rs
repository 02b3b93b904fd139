//! Acts that take two people: both sign in with their own password, both may do it, and the audit ledger has it before it is done.
use reeve_access::{Access, Accounts, Action, Person};
use serde_json::Value;

use crate::exit::{Failure, USAGE};

/// Who asks and who agrees.
#[derive(clap::Args, Debug)]
pub(crate) struct TwoPeople {
    /// Account of the person who asks; the password is in REEVE_REQUESTER_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub(crate) requester: String,
    /// Account of another person, who agrees; the password is in REEVE_APPROVER_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub(crate) approver: String,
}

impl TwoPeople {
    /// Both sign in.
    ///
    /// # Errors
    /// A password is missing or wrong; says whose.
    pub(crate) fn sign_in(&self, accounts: &Accounts) -> Result<[Person; 2], Failure> {
        Ok([
            sign_in(accounts, &self.requester, "REEVE_REQUESTER_PASSWORD")?,
            sign_in(accounts, &self.approver, "REEVE_APPROVER_PASSWORD")?,
        ])
    }

    /// Both sign in and ask, in the audit ledger, for something that both must be allowed.
    ///
    /// # Errors
    /// As [`TwoPeople::sign_in`]; one of them may not; the audit ledger cannot take it.
    pub(crate) fn ask(&self, accounts: &Accounts, access: &Access, action: Action, detail: &Value) -> Result<(), Failure> {
        // Before the act: a crash in between leaves a note about an act that did not happen, never one without a note.
        for (person, part) in self.sign_in(accounts)?.iter().zip(["requester", "approver"]) {
            let detail = serde_json::json!({ "as": part, "what": detail });
            access.ask(person, action, detail, ()).map_err(|error| Failure::new(USAGE, format!("`{}`: {error}", person.name)))?;
        }
        Ok(())
    }
}

/// The person of an account whose password is in an environment variable.
///
/// # Errors
/// It is not there, or does not sign in.
pub(crate) fn sign_in(accounts: &Accounts, name: &str, variable: &str) -> Result<Person, Failure> {
    let password =
        std::env::var(variable).map_err(|_| Failure::new(USAGE, format!("`{name}` gives a password in {variable}")))?;
    accounts.verify(name, &password).map_err(|error| Failure::new(USAGE, format!("`{name}`: {error}")))
}
