//! The `reeve` command: arguments, configuration, wiring. Everything it does lives in the crates below it.
mod access_cmd;
mod asked;
mod backup;
mod ceremony;
mod client;
mod completeness_cmd;
mod decode_cmd;
mod doctor;
mod exit;
mod folder;
mod hold_cmd;
mod incident_cmd;
mod ingest;
mod lake_cmd;
mod lake_place;
mod ledger_cmd;
mod output;
mod outward;
mod pkcs11;
mod retention_cmd;
mod rules;
mod scan;
mod search_cmd;
mod send;
mod serve;
mod source_cmd;
mod sources;

use std::process::ExitCode;

/// The reading makes and drops some hundred small values an event on several threads, which the C library's allocator pays for with
/// a tenth of the time and memory it does not give back (`cargo xtask bench serve`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::{CommandFactory, Parser, Subcommand};

/// An organisation's cyber-defence record: collects, keeps, detects, reconstructs, proves.
///
/// Data goes to standard output, everything else to standard error: a table on a terminal, NDJSON into a pipe.
/// Exit codes: 0 done, 1 findings (only with --fail-on), 2 input or rule unusable, 3 usage or configuration,
/// 4 verification failed, 5 partial: some input was unreadable.
#[derive(Parser)]
#[command(name = "reeve", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "Examples:
  reeve scan /mnt/evidence/winevt --rules sigma-rules.zip
  reeve serve --data /var/lib/reeve
  reeve COMMAND --help")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Decode files, run Sigma rules over them and list what they find; no server, no configuration
    Scan(scan::Args),
    /// Decode files to the source's own fields and OCSF, one JSON object a record
    Decode(decode_cmd::Args),
    /// Collect, keep, detect and answer, all in one process
    Serve(serve::Args),
    /// Take files into the record and read them: into a data folder, or a running server
    Ingest(ingest::Args),
    /// Number, sign and send lines of files as a source, until each is receipted
    Send(send::Args),
    /// Register what sends here, see how it does, give it tokens and keys
    #[command(subcommand)]
    Source(source_cmd::Command),
    /// Search events with the search bar's language or SQL
    Search(search_cmd::Args),
    /// Reconstruct incidents and read them
    #[command(subcommand)]
    Incident(incident_cmd::Command),
    /// List the alert queue
    #[command(subcommand)]
    Alert(incident_cmd::AlertCommand),
    /// Verify the record, prove one of its records, show its checkpoint
    #[command(subcommand)]
    Ledger(ledger_cmd::Command),
    /// Say what is wrong with an installation and what to do about it
    Doctor(doctor::Args),
    /// Copy a data folder, while a server runs on it too, so that it can be restored
    Backup(backup::Args),
    /// Make a data folder out of a backup
    Restore(backup::RestoreArgs),
    /// Take out what is due by a retention policy, and see what was taken out
    #[command(subcommand)]
    Retention(retention_cmd::Command),
    /// Forbid that records are taken out, whatever their age
    #[command(subcommand)]
    Hold(hold_cmd::Command),
    /// Accounts of a data folder
    #[command(subcommand)]
    Access(access_cmd::Command),
    /// Make events anew from the record, compare them with it, merge their files
    #[command(subcommand)]
    Lake(lake_cmd::Command),
    /// Print the HTTP API's description as OpenAPI 3.1 JSON
    #[command(after_help = "Examples:\n  reeve openapi > openapi.json")]
    Openapi,
    /// Print shell completions
    #[command(after_help = "Examples:\n  reeve completions bash > /etc/bash_completion.d/reeve")]
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// Runs the command line of this process; the code it ends with is in the description of the command.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; anything else is wrong usage.
            let code = if error.use_stderr() { exit::USAGE } else { exit::DONE };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match cli.command {
        Command::Scan(args) => scan::run(args),
        Command::Decode(args) => decode_cmd::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Ingest(args) => exit::of(ingest::run(args)),
        Command::Send(args) => exit::of(send::run(&args)),
        Command::Source(command) => exit::of(source_cmd::run(&command)),
        Command::Search(args) => exit::of(search_cmd::run(args)),
        Command::Incident(command) => exit::of(incident_cmd::run(command)),
        Command::Alert(command) => exit::of(incident_cmd::alerts(command)),
        Command::Ledger(command) => exit::of(ledger_cmd::run(command)),
        Command::Doctor(args) => exit::of(doctor::run(args)),
        Command::Backup(args) => exit::of(backup::run(&args)),
        Command::Restore(args) => exit::of(backup::restore(&args)),
        Command::Retention(command) => exit::of(retention_cmd::run(command)),
        Command::Hold(command) => exit::of(hold_cmd::run(command)),
        Command::Access(command) => exit::of(access_cmd::run(command)),
        Command::Lake(command) => exit::of(lake_cmd::run(command)),
        Command::Openapi => exit::of(output::text(&reeve_api::openapi_json())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "reeve", &mut script);
            exit::of(output::bytes(&script))
        }
        Command::Man => {
            let mut page = Vec::new();
            exit::of(
                clap_mangen::Man::new(Cli::command())
                    .render(&mut page)
                    .map_err(exit::Failure::from)
                    .and_then(|()| output::bytes(&page)),
            )
        }
    }
}
