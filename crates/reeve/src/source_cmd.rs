//! `reeve source`: keys of sources that number and sign what they send.

use std::{fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use reeve_ledger::NoteKey;
use serde_json::json;

use crate::{
    exit::{Failure, USAGE},
    output,
};

/// What to do with sources.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a source's key: the file signs, the key that is printed goes into the server's configuration
    #[command(after_help = "Examples:
  reeve source key edge/web1 web1.key
  reeve source key edge/web1 web1.key | jq -r .key

In the server's configuration:
  [[sources]]
  key = \"edge/web1+53121d4e+AUgH…\"
  heartbeat_seconds = 60")]
    Key {
        /// Name of the source: text without spaces and +
        name: String,
        /// File for the signing key; must not be there yet
        file: PathBuf,
    },
}

/// Runs the command.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Key { name, file } = command;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::new(USAGE, format!("the system gives no random numbers: {error}")))?;
    let key = NoteKey::new(name, &seed).map_err(|error| Failure::new(USAGE, error))?;
    let failed = |error: std::io::Error| Failure::new(USAGE, format!("cannot write `{}`: {error}", file.display()));
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    out.write_all(key.to_text().as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    output::json(&json!({ "source": name, "key": key.verifier().to_string(), "file": file }))
}
