//! Exit codes, the same for every command.

use std::process::ExitCode;

/// Done.
pub(crate) const DONE: u8 = 0;
/// Input or rule unusable.
pub(crate) const UNUSABLE: u8 = 2;
/// Usage or configuration.
pub(crate) const USAGE: u8 = 3;
/// Verification failed.
pub(crate) const UNVERIFIED: u8 = 4;
/// Some input was unreadable.
pub(crate) const PARTIAL: u8 = 5;

/// Why a command ends with another code than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What, where, what to do; empty if it was all said already.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with a code.
    pub(crate) fn new(code: u8, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    /// A closed pipe is success: the reader has what it wanted.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self { code: DONE, message: String::new() };
        }
        Self::new(UNUSABLE, error)
    }
}

/// Says the failure on standard error and gives its code.
#[allow(clippy::print_stderr, reason = "the one place where a command's failure is told")]
pub(crate) fn of(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::from(DONE),
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("error: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}
