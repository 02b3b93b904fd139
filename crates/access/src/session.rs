use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{Accounts, Error, Person, account::random_text};

/// A session ends this many seconds after it was last used, and in any case after [`LONGEST_S`].
const IDLE_S: i64 = 60 * 60;
const LONGEST_S: i64 = 12 * 60 * 60;

/// A live session: who, and the token that must come with every change they ask for.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who signed in.
    pub person: Person,
    /// Must be repeated in the header of a request that changes something.
    pub csrf: String,
}

/// What a sign-in gives: the session and the secret for the cookie, which is kept nowhere.
pub struct SignedIn {
    /// The new session.
    pub session: Session,
    /// For the cookie.
    pub token: String,
}

/// Sessions, kept as hashes of their tokens beside the accounts, so that a restart signs nobody out.
pub struct Sessions;

impl Sessions {
    /// Signs in with name and password.
    ///
    /// # Errors
    /// [`Error::SignIn`], [`Error::Throttled`].
    pub fn sign_in(accounts: &Accounts, name: &str, password: &str) -> Result<SignedIn, Error> {
        let person = accounts.verify(name, password)?;
        let (token, csrf) = (random_text(52)?, random_text(26)?);
        let now = jiff::Timestamp::now().as_second();
        accounts.with_store(|store| {
            store.execute("DELETE FROM session WHERE seen_at < ?1 OR created_at < ?2", params![now - IDLE_S, now - LONGEST_S])?;
            store.execute(
                "INSERT INTO session(token_hash, account, csrf, created_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?4)",
                params![fingerprint(&token), name, csrf, now],
            )
        })?;
        Ok(SignedIn { session: Session { person, csrf }, token })
    }

    /// The live session behind a token.
    ///
    /// # Errors
    /// [`Error::NoSession`] if there is none or it expired.
    pub fn find(accounts: &Accounts, token: &str) -> Result<Session, Error> {
        let now = jiff::Timestamp::now().as_second();
        let key = fingerprint(token);
        let row: Option<(String, String)> = accounts.with_store(|store| {
            let row = store
                .query_row(
                    "SELECT account, csrf FROM session WHERE token_hash = ?1 AND seen_at >= ?2 AND created_at >= ?3",
                    params![key, now - IDLE_S, now - LONGEST_S],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            // Written at most once a minute: a busy console must not turn every read into a disk write.
            store.execute("UPDATE session SET seen_at = ?2 WHERE token_hash = ?1 AND seen_at < ?2 - 60", params![key, now])?;
            Ok(row)
        })?;
        let (account, csrf) = row.ok_or(Error::NoSession)?;
        let person = accounts.person(&account)?.ok_or(Error::NoSession)?;
        Ok(Session { person, csrf })
    }

    /// Ends a session; unknown tokens are fine.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn end(accounts: &Accounts, token: &str) -> Result<(), Error> {
        accounts.with_store(|store| store.execute("DELETE FROM session WHERE token_hash = ?1", [fingerprint(token)])).map(drop)
    }
}

impl Session {
    /// Whether the header's token is this session's, compared in constant time.
    pub fn csrf_matches(&self, given: &str) -> bool {
        self.csrf.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

fn fingerprint(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn a_session_lives_until_it_is_ended() -> Result<(), Error> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let accounts = Accounts::open(dir.path())?;
        accounts.create("ada", "correct horse battery", &[Role::Analyst])?;
        let signed_in = Sessions::sign_in(&accounts, "ada", "correct horse battery")?;
        let session = Sessions::find(&accounts, &signed_in.token)?;
        assert!(session.csrf_matches(&signed_in.session.csrf) && !session.csrf_matches("other"));
        Sessions::end(&accounts, &signed_in.token)?;
        assert!(matches!(Sessions::find(&accounts, &signed_in.token), Err(Error::NoSession)));
        Ok(())
    }
}
