use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{Error, Person, Role};

/// The shortest password an account may have, in characters.
pub const MIN_PASSWORD_CHARS: usize = 12;

/// Local accounts, in `access.sqlite`. Passwords are kept as argon2id hashes only.
pub struct Accounts {
    store: Mutex<Connection>,
    failures: Mutex<HashMap<String, Failures>>,
    /// Checked when the name is unknown, so that a stranger cannot tell by the time taken.
    decoy: String,
}

struct Failures {
    count: u32,
    last: Instant,
}

/// An account, without its password.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AccountInfo {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// The account made when the database was empty.
pub struct FirstAccount {
    /// Its name.
    pub name: String,
    /// Its password, generated; shown nowhere else.
    pub password: String,
}

impl Accounts {
    /// Opens or creates `access.sqlite` in `dir`.
    ///
    /// # Errors
    /// [`Error::Store`] if the file cannot be opened or is no such database.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let store = Connection::open(dir.join("access.sqlite"))?;
        store.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE IF NOT EXISTS account(
                 name TEXT PRIMARY KEY, hash TEXT NOT NULL, roles TEXT NOT NULL, created_at TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS session(
                 token_hash BLOB PRIMARY KEY, account TEXT NOT NULL, csrf TEXT NOT NULL,
                 created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL);",
        )?;
        let decoy = hash(&random_text(24)?)?;
        Ok(Self { store: Mutex::new(store), failures: Mutex::new(HashMap::new()), decoy })
    }

    /// Makes the account `name` with a generated password and all roles it takes to try Reeve out, if there is no account yet.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Credential`]; then no account was made.
    pub fn first(&self, name: &str) -> Result<Option<FirstAccount>, Error> {
        let count: i64 = self.store.lock().query_row("SELECT count(*) FROM account", [], |row| row.get(0))?;
        if count > 0 {
            return Ok(None);
        }
        let password = random_text(20)?;
        self.create(name, &password, &[Role::Administrator, Role::Analyst])?;
        Ok(Some(FirstAccount { name: name.to_owned(), password }))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::BadAccount`] if the name is taken or odd or the password too short; nothing is changed then.
    pub fn create(&self, name: &str, password: &str, roles: &[Role]) -> Result<(), Error> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
        if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
            return Err(Error::BadAccount(format!(
                "account name `{name}` will not do: use 1 to 64 of a-z, 0-9, dot, dash, underscore and @"
            )));
        }
        if password.chars().count() < MIN_PASSWORD_CHARS {
            return Err(Error::BadAccount(format!("the password is too short: use at least {MIN_PASSWORD_CHARS} characters")));
        }
        let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
        let made = self.store.lock().execute(
            "INSERT OR IGNORE INTO account(name, hash, roles, created_at) VALUES (?1, ?2, ?3, ?4)",
            params![name, hash(password)?, roles.join(" "), jiff::Timestamp::now().to_string()],
        )?;
        if made == 0 {
            return Err(Error::BadAccount(format!("account `{name}` exists already: choose another name")));
        }
        Ok(())
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn list(&self) -> Result<Vec<AccountInfo>, Error> {
        self.with_store(|store| {
            let mut statement = store.prepare("SELECT name, roles, created_at FROM account ORDER BY name")?;
            let account = |row: &rusqlite::Row<'_>| {
                let roles: String = row.get(1)?;
                let roles = roles.split(' ').filter_map(Role::parse).collect();
                Ok(AccountInfo { name: row.get(0)?, roles, created_at: row.get(2)? })
            };
            statement.query_map([], account)?.collect()
        })
    }

    /// A password that is hard to guess and easy to copy.
    ///
    /// # Errors
    /// [`Error::Credential`] if the system gives no random numbers.
    pub fn new_password() -> Result<String, Error> {
        random_text(20)
    }

    /// Checks a password. After five failures in a row a name must wait, twice as long each time, up to 5 minutes.
    ///
    /// # Errors
    /// [`Error::SignIn`] or [`Error::Throttled`].
    pub fn verify(&self, name: &str, password: &str) -> Result<Person, Error> {
        self.throttle(name)?;
        let found = self.load(name)?;
        let hash = found.as_ref().map_or(self.decoy.as_str(), |(hash, _)| hash.as_str());
        let parsed = PasswordHash::new(hash).map_err(|error| Error::Credential(error.to_string()))?;
        let right = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
        match found {
            Some((_, roles)) if right => {
                self.failures.lock().remove(name);
                Ok(Person { name: name.to_owned(), roles, via: "session" })
            }
            _ => {
                let mut failures = self.failures.lock();
                // Bounded: a flood of invented names must not fill the memory.
                if failures.len() > 10_000 {
                    failures.retain(|_, entry| entry.last.elapsed() < Duration::from_secs(300));
                }
                let entry =
                    failures.entry(name.chars().take(64).collect()).or_insert(Failures { count: 0, last: Instant::now() });
                entry.count += 1;
                entry.last = Instant::now();
                Err(Error::SignIn)
            }
        }
    }

    /// The person behind an account name, with today's roles.
    pub(crate) fn person(&self, name: &str) -> Result<Option<Person>, Error> {
        Ok(self.load(name)?.map(|(_, roles)| Person { name: name.to_owned(), roles, via: "session" }))
    }

    pub(crate) fn with_store<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        Ok(run(&self.store.lock())?)
    }

    fn load(&self, name: &str) -> Result<Option<(String, Vec<Role>)>, Error> {
        let row: Option<(String, String)> = self
            .store
            .lock()
            .query_row("SELECT hash, roles FROM account WHERE name = ?1", [name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(row.map(|(hash, roles)| (hash, roles.split(' ').filter_map(Role::parse).collect())))
    }

    fn throttle(&self, name: &str) -> Result<(), Error> {
        let failures = self.failures.lock();
        let Some(entry) = failures.get(name) else { return Ok(()) };
        if entry.count < 5 {
            return Ok(());
        }
        let wait = Duration::from_secs((1u64 << (entry.count - 5).min(8)).min(300));
        match wait.checked_sub(entry.last.elapsed()) {
            Some(left) if !left.is_zero() => Err(Error::Throttled { seconds: left.as_secs() + 1 }),
            _ => Ok(()),
        }
    }
}

fn hash(password: &str) -> Result<String, Error> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|phc| phc.to_string()).map_err(|error| Error::Credential(error.to_string()))
}

/// `len` characters that are hard to confuse when copied by hand, 5 bits of chance each.
pub(crate) fn random_text(len: usize) -> Result<String, Error> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0u8; len];
    getrandom::fill(&mut bytes).map_err(|error| Error::Credential(error.to_string()))?;
    Ok(bytes.iter().map(|byte| LETTERS[usize::from(byte % 32)] as char).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_account_signs_in_and_is_made_once() -> Result<(), Error> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let accounts = Accounts::open(dir.path())?;
        let first = accounts.first("admin")?.expect("no account yet");
        assert!(accounts.verify("admin", &first.password)?.may(crate::Action::SearchEvents));
        assert!(accounts.first("admin")?.is_none());
        Ok(())
    }

    #[test]
    fn wrong_passwords_look_like_unknown_names_and_are_throttled() -> Result<(), Error> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let accounts = Accounts::open(dir.path())?;
        accounts.create("ada", "correct horse battery", &[Role::Analyst])?;
        let wrong = accounts.verify("ada", "guess").expect_err("wrong password").to_string();
        assert_eq!(wrong, accounts.verify("nobody", "guess").expect_err("unknown name").to_string());
        for _ in 0..4 {
            assert!(matches!(accounts.verify("ada", "guess"), Err(Error::SignIn)));
        }
        assert!(matches!(accounts.verify("ada", "correct horse battery"), Err(Error::Throttled { .. })));
        Ok(())
    }
}
