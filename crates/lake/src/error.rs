use std::{io, path::PathBuf};

/// What can go wrong in the lake. Nothing already stored is changed by an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the lake could not be read or written.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was attempted, as in `write`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The segment catalog refused.
    #[error(transparent)]
    Catalog(#[from] reeve_catalog::Error),
    /// Object storage refused.
    #[error(transparent)]
    Objects(#[from] reeve_objects::Error),
    /// A file does not hold what it should.
    #[error("`{path}` is damaged: {detail}; `reeve lake rebuild` makes it anew from the record")]
    Damaged {
        /// The file or folder.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// Columns could not be built.
    #[error("cannot {what}: {source}")]
    Columns {
        /// What was attempted.
        what: &'static str,
        /// The column library's answer.
        source: arrow::error::ArrowError,
    },
    /// A Parquet file could not be written or read.
    #[error("cannot {what} event segment `{path}`: {source}")]
    Segment {
        /// What was attempted.
        what: &'static str,
        /// Path below the lake folder.
        path: String,
        /// The Parquet library's answer.
        source: parquet::errors::ParquetError,
    },
    /// The query engine failed, as by running out of its memory share.
    #[error("query failed: {message}")]
    Engine {
        /// The engine's answer.
        message: String,
    },
    /// The query is not well formed.
    #[error("query, offset {offset}: {message}")]
    Query {
        /// Byte offset in the query text.
        offset: usize,
        /// What was found and what to write instead.
        message: String,
    },
    /// The SQL is not something the lake runs.
    #[error("sql: {message}")]
    Sql {
        /// What was found and what to write instead.
        message: String,
    },
    /// Another flush failed in a way that makes this process's view unsafe.
    #[error("the lake stopped writing after a failed flush; open it again, the record still holds everything")]
    Stopped,
}

impl Error {
    /// A stable code for programs, as in `LAKE-QUERY`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "LAKE-IO",
            Self::Catalog(_) => "LAKE-CATALOG",
            Self::Objects(_) => "LAKE-OBJECTS",
            Self::Columns { .. } => "LAKE-COLUMNS",
            Self::Segment { .. } | Self::Damaged { .. } => "LAKE-SEGMENT",
            Self::Engine { .. } => "LAKE-ENGINE",
            Self::Query { .. } => "LAKE-QUERY",
            Self::Sql { .. } => "LAKE-SQL",
            Self::Stopped => "LAKE-STOPPED",
        }
    }

    /// True if nothing was changed because somebody else was faster.
    pub fn is_superseded(&self) -> bool {
        matches!(self, Self::Catalog(error) if error.is_superseded())
    }

    /// Byte offset in the query text, for errors that have one.
    pub fn offset(&self) -> Option<usize> {
        if let Self::Query { offset, .. } = self { Some(*offset) } else { None }
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn columns(what: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        move |source| Self::Columns { what, source }
    }

    pub(crate) fn query(offset: usize, message: impl Into<String>) -> Self {
        Self::Query { offset, message: message.into() }
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(source: datafusion::error::DataFusionError) -> Self {
        Self::Engine { message: source.strip_backtrace() }
    }
}
