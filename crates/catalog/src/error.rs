use crate::Fault;

/// What can go wrong in the catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog's file refused.
    #[error("lake catalog: cannot {what}: {source}; check that the disk has room and that the data folder is writable")]
    File {
        /// What was attempted, as in `commit segments`.
        what: &'static str,
        /// The database's answer.
        source: rusqlite::Error,
    },
    /// The PostgreSQL server refused, or cannot be reached.
    #[error("lake catalog on PostgreSQL ({server}): cannot {what}: {source}; {}", hint(source))]
    Server {
        /// What was attempted, as in `commit segments`.
        what: &'static str,
        /// Which server and database, without the password.
        server: String,
        /// Its answer, or what kept it from answering.
        source: Fault,
    },
    /// The server's address or what goes with it cannot be used.
    #[error("lake catalog on PostgreSQL: {detail}")]
    Settings {
        /// What is wrong, and what to write instead.
        detail: String,
    },
    /// The server is older than what the catalog needs.
    #[error("lake catalog on PostgreSQL: the server is version {found}; {needed} or newer is needed")]
    ServerVersion {
        /// Its major version.
        found: i64,
        /// The lowest that will do.
        needed: i64,
    },
    /// The catalog was written by a newer Reeve.
    #[error(
        "lake catalog has format {found}, this program reads up to {known}: use the newer program, or read the record again into an empty lake"
    )]
    Format {
        /// Format number in the catalog.
        found: i64,
        /// Highest format number known.
        known: i64,
    },
    /// Somebody else changed the lake first.
    #[error("lake catalog: `{what}` passed to somebody else meanwhile; nothing was changed, the work is planned anew")]
    Superseded {
        /// The segment, the lease, or [`crate::READ_POSITION`].
        what: String,
    },
    /// The catalog is about files that are kept elsewhere.
    #[error(
        "lake catalog: its event files are kept in `{kept}`, not in `{asked}`: name that place in [lake], or take another database and read \
         the record again into it"
    )]
    Elsewhere {
        /// Where they are.
        kept: String,
        /// Where they were looked for.
        asked: String,
    },
}

impl Error {
    pub(crate) fn file(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::File { what, source }
    }

    /// True if nothing was changed because others were faster.
    pub fn is_superseded(&self) -> bool {
        matches!(self, Self::Superseded { .. })
    }
}

fn hint(fault: &Fault) -> &'static str {
    let code = match fault {
        Fault::Refused { code, .. } => code.as_str(),
        Fault::Io(_) => return "check that the server runs and can be reached from here",
        Fault::Unsupported(_) => return "see [lake] in docs/reference/configuration.md",
    };
    // SQLSTATE, PostgreSQL's appendix A.
    match code {
        "42501" => "grant this role USAGE and CREATE on the schema it works in",
        "28P01" | "28000" => "check the role in [lake] catalog, catalog_password_file, and the server's pg_hba.conf",
        "3D000" => "make the database first, as with `createdb`",
        "53300" => "one connection is needed: raise max_connections or free one",
        "53100" | "53200" => "give the server room",
        _ => "the server's log says more",
    }
}
