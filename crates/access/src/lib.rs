//! Who may see what. Every read of an event passes here, and who looked is in the audit ledger before an answer leaves.
//!
//! Today's model is small: local accounts with roles, one table of what each role may do, an audit record for each act.
//! Purposes, cases, pseudonyms and unmasking come on top of the same [`Scoped`] gate. This crate knows no HTTP.
mod account;
mod audit;
mod policy;
mod reads;
mod session;

pub use account::{AccountInfo, Accounts, FirstAccount, MIN_PASSWORD_CHARS};
pub use audit::{Access, Digest, Scoped};
pub use policy::{Action, Person, Role, allowed};
pub use reads::{EventKey, FullEvent, Range, Reads};
pub use session::{Session, Sessions, SignedIn};

/// What went wrong; no variant tells a stranger whether an account exists.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Name or password is wrong, or the account is off.
    #[error("this name and password do not sign in: check both, or ask an administrator to reset the password")]
    SignIn,
    /// Too many failed tries; says after how many seconds to come back.
    #[error("too many failed sign-ins for this name: wait {seconds} s and try again")]
    Throttled {
        /// Seconds until the next try is looked at.
        seconds: u64,
    },
    /// The session is unknown, ended or expired.
    #[error("no session: sign in first")]
    NoSession,
    /// The role does not allow the act. Recorded in the audit ledger.
    #[error("role does not allow `{action}`: an account with the role {needs} can do it")]
    NotAllowed {
        /// The act's name in the audit ledger.
        action: &'static str,
        /// Roles that may.
        needs: String,
    },
    /// The name or password of a new account breaks a rule.
    #[error("{0}")]
    BadAccount(String),
    /// The act could not be recorded, so nothing was read or done.
    #[error("the act could not be recorded in the audit ledger, so it was not done: {0}")]
    Audit(#[from] reeve_ledger::Error),
    /// The lake refused or failed; a mistake in a query has its offset.
    #[error(transparent)]
    Lake(#[from] reeve_lake::Error),
    /// The account database failed.
    #[error("account database `access.sqlite`: {0}")]
    Store(#[from] rusqlite::Error),
    /// The system gave no random numbers or the password hash failed.
    #[error("cannot make a credential: {0}")]
    Credential(String),
}
