//! Acts on a folder that a server has. The server alone writes the audit log: a command asks it, through a file in the folder, to record what the command
//! is about to do, and goes on when that is durable.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reeve_access::{Access, Person};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    exit::{Failure, UNUSABLE},
    folder::Folder,
    serve::DataLock,
};

/// An act that other commands may ask to be recorded.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    /// A copy of the whole folder is made.
    Backup,
}

impl Act {
    const fn name(self) -> &'static str {
        match self {
            Act::Backup => "backup",
        }
    }
}

#[derive(Serialize, Deserialize, Debug)]
struct Asked {
    act: Act,
    detail: Value,
}

/// Records an act of whoever runs this command: by hand, or by the server that has the folder. Afterwards it is durable.
///
/// # Errors
/// Neither could record it; then the act must not be done.
pub(crate) fn record(data: &Path, act: Act, detail: Value) -> Result<(), Failure> {
    match Folder::existing(data) {
        Ok(folder) => note(&folder.access, act, &Folder::person(), &detail).map_err(|error| Failure::new(UNUSABLE, error)),
        Err(_) if DataLock::is_held(data) => ask(data, &Asked { act, detail }),
        Err(failure) => Err(failure),
    }
}

fn note(access: &Access, act: Act, person: &Person, detail: &Value) -> Result<(), reeve_access::Error> {
    access.own_act(act.name(), json!({ "asked_by": person.name, "of": detail })).map(drop)
}

/// Leaves the question and waits until the server took it away.
fn ask(data: &Path, asked: &Asked) -> Result<(), Failure> {
    let path = data.join(FOLDER).join(format!("{}.json", std::process::id()));
    let failed =
        |error: io::Error| Failure::new(UNUSABLE, format!("cannot ask the server through `{}`: {error}", path.display()));
    fs::create_dir_all(data.join(FOLDER)).map_err(failed)?;
    let part = path.with_extension("part");
    fs::write(&part, serde_json::to_vec(asked).map_err(|error| failed(error.into()))?).map_err(failed)?;
    fs::rename(&part, &path).map_err(failed)?;
    let began = Instant::now();
    while path.exists() {
        if began.elapsed() > PATIENCE {
            let _ = fs::remove_file(&path);
            let message =
                format!("the server on `{}` did not record it, so it is not done: see its log, or stop it", data.display());
            return Err(Failure::new(UNUSABLE, message));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Records what was asked since the last call. What cannot be recorded stays, and whoever asked learns that nobody answered.
pub(crate) fn answer(data: &Path, access: &Access) {
    let Ok(entries) = fs::read_dir(data.join(FOLDER)) else { return };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for path in paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).take(AT_ONCE) {
        if let Err(error) = answer_one(&path, access) {
            tracing::error!(path = %path.display(), %error, "an act that was asked for cannot be recorded");
        }
    }
}

fn answer_one(path: &PathBuf, access: &Access) -> Result<(), Box<dyn std::error::Error>> {
    let is = fs::symlink_metadata(path)?;
    if !is.is_file() || is.len() > ASKED_BYTES {
        return Err("it is no file, or too large".into());
    }
    let Asked { act, detail } = serde_json::from_slice(&fs::read(path)?)?;
    // Not what the file says: whose it is.
    note(access, act, &Person::at_shell(is.uid()), &detail)?;
    Ok(fs::remove_file(path)?)
}

const FOLDER: &str = "asked";
const PATIENCE: Duration = Duration::from_secs(30);
const ASKED_BYTES: u64 = 64 << 10;
/// Questions taken in one round.
const AT_ONCE: usize = 100;
