//! `reeve access`: accounts of a data folder.
use std::path::PathBuf;

use reeve_access::{Accounts, Action, Role};
use serde_json::json;

use crate::{
    ceremony::sign_in,
    exit::{Failure, USAGE},
    folder::Folder,
    output::{self, Format},
};

/// Accounts of a data folder; its server must be stopped
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  REEVE_PASSWORD=... reeve access add ben --role auditor --by admin --data /var/lib/reeve
  reeve access list --data /var/lib/reeve")]
pub(crate) enum Command {
    /// Make an account for another person
    Add(Add),
    /// List accounts with their roles
    List(List),
}

/// Make an account for another person
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  REEVE_PASSWORD=... reeve access add ben --role auditor --by admin --data /var/lib/reeve
  REEVE_PASSWORD=... REEVE_NEW_PASSWORD=... reeve access add eve --role analyst --role auditor --by admin --data /var/lib/reeve

An administrator signs in with REEVE_PASSWORD; only the first account of a folder needs none. Without REEVE_NEW_PASSWORD a password is
made and printed once. Give it to the person it is for: whoever knows two people's passwords can hold their ceremonies alone.")]
pub(crate) struct Add {
    /// Its name: 1 to 64 of a-z, 0-9, dot, dash, underscore and @
    name: String,
    /// administrator, analyst or auditor; may be given again
    #[arg(long, value_name = "ROLE", required = true, value_parser = role)]
    role: Vec<Role>,
    /// Account of the administrator who makes it
    #[arg(long, value_name = "NAME", default_value = "admin")]
    by: String,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// List accounts
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve access list --data /var/lib/reeve
  reeve access list --data /var/lib/reeve --format ndjson")]
pub(crate) struct List {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How accounts are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

fn role(name: &str) -> Result<Role, String> {
    let all = || Role::ALL.map(Role::name).join(", ");
    Role::parse(name).ok_or_else(|| format!("`{name}` is no role: use one of {}", all()))
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add(&args),
        Command::List(args) => list(&args),
    }
}

fn add(args: &Add) -> Result<(), Failure> {
    let refused = |error: reeve_access::Error| Failure::new(USAGE, error);
    let folder = Folder::existing(&args.data)?;
    let person = if folder.accounts.list().map_err(refused)?.is_empty() {
        Folder::person()
    } else {
        sign_in(&folder.accounts, &args.by, "REEVE_PASSWORD")?
    };
    let roles: Vec<&str> = args.role.iter().map(|role| role.name()).collect();
    let detail = json!({ "add": args.name, "roles": roles });
    folder.access.ask(&person, Action::ManageAccounts, detail, ()).map_err(refused)?;
    let given = std::env::var("REEVE_NEW_PASSWORD").ok();
    let made = if given.is_none() { Some(Accounts::new_password().map_err(refused)?) } else { None };
    let password = given.as_deref().or(made.as_deref()).unwrap_or_default();
    folder.accounts.create(&args.name, password, &args.role).map_err(refused)?;
    output::json(&json!({ "account": args.name, "roles": roles, "by": person.name, "password": made }))
}

fn list(args: &List) -> Result<(), Failure> {
    let refused = |error: reeve_access::Error| Failure::new(USAGE, error);
    let folder = Folder::existing(&args.data)?;
    folder.access.ask(&Folder::person(), Action::ManageAccounts, json!({ "list": true }), ()).map_err(refused)?;
    let accounts = folder.accounts.list().map_err(refused)?;
    if Format::or_default(args.format) == Format::Ndjson {
        return accounts.iter().try_for_each(output::json);
    }
    let rows = accounts.into_iter().map(|account| {
        let roles: Vec<&str> = account.roles.iter().map(|role| role.name()).collect();
        vec![account.name, roles.join(" "), account.created_at]
    });
    output::table(&["account", "roles", "since"], rows)
}
