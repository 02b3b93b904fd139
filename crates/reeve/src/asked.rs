//! What commands ask of the server that has their folder. It alone writes the audit log and the registry of sources: a command leaves its question in a file in
//! the folder, and goes on when the server has taken it away or answered it in a file beside it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use reeve_access::{Access, Action, Person, Reads};
use reeve_api::sources::{SourceChange, SourceDesk as _, SourceFault};
use reeve_lake::{SearchEvent, SearchRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    exit::{Failure, UNUSABLE, USAGE},
    folder::Folder,
    serve::DataLock,
    sources::Desk,
};

/// An act that other commands may ask to be recorded.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    /// A copy of the whole folder is made.
    Backup,
    /// A change of the registered sources, to be made by the server.
    ChangeSource,
    /// The sources and what was counted of them.
    ListSources,
    /// One source with what its events were read as.
    ShowSource,
    /// The latest event of a source, waited for if there is none yet.
    SourceEvent,
}

impl Act {
    const fn name(self) -> &'static str {
        match self {
            Act::Backup => "backup",
            Act::ChangeSource => "change_source",
            Act::ListSources => "list_sources",
            Act::ShowSource => "show_source",
            Act::SourceEvent => "source_event",
        }
    }
}

#[derive(Serialize, Deserialize, Debug)]
struct Asked {
    act: Act,
    detail: Value,
}

/// A question about the latest event of a source.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct EventOf {
    /// The source.
    pub(crate) name: String,
    /// How long to wait for it.
    pub(crate) wait_seconds: u64,
}

/// What was said to a question.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Said {
    Answer(Value),
    /// It was asked wrongly.
    Refused(String),
    /// It was not possible.
    Failed(String),
}

impl From<Said> for Result<Value, Failure> {
    fn from(said: Said) -> Self {
        match said {
            Said::Answer(answer) => Ok(answer),
            Said::Refused(why) => Err(Failure::new(USAGE, why)),
            Said::Failed(why) => Err(Failure::new(UNUSABLE, why)),
        }
    }
}

impl From<SourceFault> for Said {
    fn from(fault: SourceFault) -> Self {
        match fault {
            SourceFault::Missing(why) | SourceFault::Unfit(why) => Said::Refused(why),
            SourceFault::Failed(why) => Said::Failed(why),
        }
    }
}

/// Records an act of whoever runs this command: by hand, or by the server that has the folder. Afterwards it is durable.
///
/// # Errors
/// Neither could record it; then the act must not be done.
pub(crate) fn record(data: &Path, act: Act, detail: Value) -> Result<(), Failure> {
    match Folder::existing(data) {
        Ok(folder) => note(&folder.access, act, &Folder::person(), &detail).map_err(|error| Failure::new(UNUSABLE, error)),
        Err(_) if DataLock::is_held(data) => ask(data, &Asked { act, detail }, PATIENCE).map(drop),
        Err(failure) => Err(failure),
    }
}

/// Asks about the sources of a folder: the server that has it, or the folder itself if none does. An event can only be waited for while a server runs.
///
/// # Errors
/// What the server, or the folder, says.
pub(crate) fn sources(data: &Path, act: Act, detail: Value, wait: Duration) -> Result<Value, Failure> {
    if DataLock::is_held(data) {
        return ask(data, &Asked { act, detail }, PATIENCE + wait);
    }
    let folder = Folder::existing(data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let desk = Arc::new(Desk::open(data)?);
    let (access, reads, runtime) = (folder.access.clone(), folder.reads.clone(), runtime.handle().clone());
    let answering = Answering { data: data.to_owned(), access, reads, desk, runtime };
    answering.say(&Folder::person(), act, detail).into()
}

fn note(access: &Access, act: Act, person: &Person, detail: &Value) -> Result<(), reeve_access::Error> {
    access.own_act(act.name(), json!({ "asked_by": person.name, "of": detail })).map(drop)
}

/// Leaves the question and waits until the server took it away; what it said then, if there is something to say.
fn ask(data: &Path, asked: &Asked, patience: Duration) -> Result<Value, Failure> {
    let path = data.join(FOLDER).join(format!("{}.json", std::process::id()));
    let failed =
        |error: io::Error| Failure::new(UNUSABLE, format!("cannot ask the server through `{}`: {error}", path.display()));
    fs::create_dir_all(data.join(FOLDER)).map_err(failed)?;
    let answer = path.with_extension("answer");
    // One that a process of the same number left behind.
    let _ = fs::remove_file(&answer);
    put(&path, &serde_json::to_vec(asked).map_err(|error| failed(error.into()))?).map_err(failed)?;
    let began = Instant::now();
    loop {
        let taken = !path.exists();
        match fs::read(&answer) {
            Ok(said) => {
                let _ = fs::remove_file(&answer);
                let said: Said = serde_json::from_slice(&said).map_err(|error| failed(error.into()))?;
                return said.into();
            }
            // An act that was recorded has no answer: that the question is gone is one.
            Err(_) if taken && matches!(asked.act, Act::Backup) => return Ok(Value::Null),
            Err(_) => {}
        }
        if began.elapsed() > patience {
            let _ = fs::remove_file(&path);
            let message =
                format!("the server on `{}` did not answer, so it is not done: see its log, or stop it", data.display());
            return Err(Failure::new(UNUSABLE, message));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Writes a file that is whole when it is there, for its owner alone: answers have content in them.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    io::Write::write_all(&mut file, bytes)?;
    fs::rename(&part, path)
}

/// Answers what is asked of a server.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) data: PathBuf,
    pub(crate) access: Arc<Access>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Answering {
    /// Answers what was asked since the last call. What cannot be recorded stays, and whoever asked learns that nobody answered.
    pub(crate) fn answer(&self) {
        let Ok(entries) = fs::read_dir(self.data.join(FOLDER)) else { return };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        for path in paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).take(AT_ONCE) {
            if let Err(error) = self.answer_one(&path) {
                tracing::error!(path = %path.display(), %error, "what was asked for cannot be recorded");
            }
        }
    }

    fn answer_one(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let is = fs::symlink_metadata(path)?;
        if !is.is_file() || is.len() > ASKED_BYTES {
            return Err("it is no file, or too large".into());
        }
        let Asked { act, detail } = serde_json::from_slice(&fs::read(path)?)?;
        // Not what the file says: whose it is.
        let person = Person::at_shell(is.uid());
        if matches!(act, Act::Backup) {
            note(&self.access, act, &person, &detail)?;
            return Ok(fs::remove_file(path)?);
        }
        fs::remove_file(path)?;
        // On a thread of its own: it may wait for an event or count many, and others are to be answered meanwhile.
        let (answering, answer) = (self.clone(), path.with_extension("answer"));
        std::thread::Builder::new().name("answer".to_owned()).spawn(move || {
            let said = answering.say(&person, act, detail);
            let written = serde_json::to_vec(&said).map_err(io::Error::other).and_then(|bytes| put(&answer, &bytes));
            if let Err(error) = written {
                tracing::error!(path = %answer.display(), %error, "an answer could not be written");
            }
        })?;
        Ok(())
    }

    fn say(&self, person: &Person, act: Act, detail: Value) -> Said {
        match act {
            Act::Backup => Said::Failed("a backup is recorded, not answered".to_owned()),
            Act::ChangeSource => self.change(person, detail),
            Act::ListSources => match reeve_api::sources::list(&self.access, &*self.desk, person, None) {
                Ok(list) => Said::Answer(json!(list)),
                Err(error) => Said::Failed(error.to_string()),
            },
            Act::ShowSource => self.show(person, detail["name"].as_str().unwrap_or_default()),
            Act::SourceEvent => match serde_json::from_value::<EventOf>(detail) {
                Ok(of) => self.event(person, &of),
                Err(error) => Said::Refused(error.to_string()),
            },
        }
    }

    fn change(&self, person: &Person, detail: Value) -> Said {
        let change: SourceChange = match serde_json::from_value(detail.clone()) {
            Ok(change) => change,
            Err(error) => return Said::Refused(error.to_string()),
        };
        match self.access.ask(person, Action::ManageSources, detail, change) {
            Err(error) => Said::Failed(error.to_string()),
            Ok(scoped) => self.desk.change(&scoped).map_or_else(Said::from, |changed| Said::Answer(json!(changed))),
        }
    }

    fn show(&self, person: &Person, name: &str) -> Said {
        match reeve_api::sources::detail(&self.access, &self.reads, &*self.desk, person, name, &self.runtime) {
            Ok(Some(detail)) => Said::Answer(json!(detail)),
            Ok(None) => Said::Refused(format!("there is no source `{name}`: `reeve source list` names them")),
            Err(error) => Said::Failed(error.to_string()),
        }
    }

    /// The latest event of a source as a list shows it; null if none came in time.
    fn event(&self, person: &Person, of: &EventOf) -> Said {
        let until = Instant::now() + Duration::from_secs(of.wait_seconds.min(WAIT_SECONDS_MAX));
        // Nothing is read while nothing came: the counters say when something did.
        while self.desk.counted(&of.name) == 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let query = format!("source:{0} OR source:{0}/*", of.name);
        let request = SearchRequest { query: query.clone(), limit: Some(1), ..SearchRequest::default() };
        let detail = json!({ "q": query, "limit": 1, "source": of.name });
        let scoped = match self.access.ask(person, Action::SearchEvents, detail, request) {
            Ok(scoped) => scoped,
            Err(error) => return Said::Failed(error.to_string()),
        };
        loop {
            let mut digest = reeve_access::Digest::default();
            match self.runtime.block_on(first(&self.reads, &scoped)) {
                Err(error) => return Said::Failed(error.to_string()),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
                Ok(row) => {
                    row.iter().for_each(|row| digest.row(row.to_string().as_bytes()));
                    self.access.answered(&scoped, digest);
                    return Said::Answer(row.unwrap_or_default());
                }
            }
        }
    }
}

async fn first(reads: &Reads, scoped: &reeve_access::Scoped<SearchRequest>) -> Result<Option<Value>, reeve_access::Error> {
    use futures::StreamExt as _;
    let mut answer = reads.search(scoped)?;
    while let Some(part) = answer.next().await {
        if let SearchEvent::Rows(rows) = part?
            && let Some(row) = rows.first()
        {
            return Ok(Some(reeve_api::listed(row)));
        }
    }
    Ok(None)
}

const FOLDER: &str = "asked";
const PATIENCE: Duration = Duration::from_secs(30);
const ASKED_BYTES: u64 = 64 << 10;
/// Questions taken in one round.
const AT_ONCE: usize = 100;
/// A day: whoever waits longer has gone home.
const WAIT_SECONDS_MAX: u64 = 86_400;
