//! Rule files from files, folders and archives, every fault kept with its place.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    sigma::{
        item::Fields,
        rule::{self, Body, Rule},
    },
    yaml,
};

/// The longest rule file read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How much one archive may unpack to.
const ARCHIVE_BYTES_MAX: u64 = 512 << 20;
/// How many members one archive may have, and how many entries one folder tree.
const ENTRIES_MAX: usize = 200_000;

/// Rules loaded together: what an [`Engine`](crate::Engine) is made of.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    pub(crate) filters: Vec<Rule>,
    pub(crate) fields: Fields,
}

/// A rule that could not be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RuleProblem {
    /// The file, archive members as `archive!member`.
    pub path: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// The rule's id if it could be read.
    pub rule_id: Option<String>,
    /// What is wrong, in plain words.
    pub reason: String,
}

impl std::fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.reason)
    }
}

impl RuleSet {
    /// Reads rules from files, folders (all `.yml` and `.yaml` in them) and archives (`.zip`, `.tar`, `.tar.gz`, `.tar.zst`).
    ///
    /// Everything that could not be used is in the second part; one bad rule never stops another. In folders and archives, rules
    /// whose author withdrew them (`status: deprecated` or `unsupported`) are listed there too and not used.
    pub fn load(paths: &[PathBuf]) -> (Self, Vec<RuleProblem>) {
        let mut loader = Loader::default();
        for path in paths {
            loader.path(path);
        }
        loader.finish()
    }

    /// Reads rules from texts already in memory, each under the name it is to be reported by.
    pub fn from_texts<'t>(texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> (Self, Vec<RuleProblem>) {
        let mut loader = Loader::default();
        for (name, text) in texts {
            loader.text(name, text, true);
        }
        loader.finish()
    }

    /// Rules and correlations in the order they were read.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule with this id or name.
    pub fn find(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id || rule.name.as_deref() == Some(id))
    }

    /// How many rules and correlations there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

#[derive(Default)]
struct Loader {
    set: RuleSet,
    problems: Vec<RuleProblem>,
    ids: hashbrown::HashMap<String, String>,
}

impl Loader {
    fn finish(mut self) -> (RuleSet, Vec<RuleProblem>) {
        self.unknown_references();
        (self.set, self.problems)
    }

    fn problem(&mut self, path: &str, line: u32, reason: impl Into<String>) {
        self.problems.push(RuleProblem { path: path.to_owned(), line, rule_id: None, reason: reason.into() });
    }

    fn path(&mut self, path: &Path) {
        let name = path.display().to_string();
        match fs::metadata(path) {
            Err(error) => self.problem(&name, 0, format!("cannot be read: {error}")),
            Ok(about) if about.is_dir() => {
                let mut left = ENTRIES_MAX;
                self.folder(path, 0, &mut left);
            }
            Ok(_) => self.file(path, &name, true),
        }
    }

    fn folder(&mut self, folder: &Path, depth: usize, left: &mut usize) {
        let name = folder.display().to_string();
        if depth > 32 {
            return self.problem(&name, 0, "folders nested deeper than 32");
        }
        let mut entries: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) => return self.problem(&name, 0, format!("cannot be read: {error}")),
        };
        entries.sort();
        for entry in entries {
            if *left == 0 {
                return self.problem(&name, 0, format!("more than {ENTRIES_MAX} files: the rest is not read"));
            }
            *left -= 1;
            let name = entry.display().to_string();
            if entry.is_dir() {
                self.folder(&entry, depth + 1, left);
            } else if is_rule_name(&name) {
                self.file(&entry, &name, false);
            }
        }
    }

    fn file(&mut self, path: &Path, name: &str, named: bool) {
        let opened = fs::File::open(path).and_then(|mut file| {
            let mut head = [0u8; 4];
            let got = read_up_to(&mut file, &mut head)?;
            Ok((fs::File::open(path)?, head, got))
        });
        let result = match opened {
            Err(error) => return self.problem(name, 0, format!("cannot be read: {error}")),
            Ok((file, [b'P', b'K', 3, 4], 4)) => self.zip(name, file),
            Ok((file, [0x28, 0xb5, 0x2f, 0xfd], 4)) => {
                zstd::stream::read::Decoder::new(file).and_then(|unpacked| self.tar(name, unpacked))
            }
            Ok((file, [0x1f, 0x8b, ..], 2..)) => self.tar(name, flate2::read::MultiGzDecoder::new(file)),
            Ok((file, ..)) if name.ends_with(".tar") => self.tar(name, file),
            Ok((file, ..)) => self.reader(name, file, named),
        };
        if let Err(error) = result {
            self.problem(name, 0, format!("cannot be read to its end: {error}"));
        }
    }

    fn reader(&mut self, name: &str, reader: impl Read, named: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            self.problem(name, 0, format!("longer than {FILE_BYTES_MAX} bytes"));
            return Ok(());
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.text(name, &text, named),
            Err(error) => {
                let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
                let line = 1 + before.filter(|byte| **byte == b'\n').count() as u32;
                self.problem(name, line, "is not UTF-8");
            }
        }
        Ok(())
    }

    fn tar(&mut self, name: &str, reader: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(reader.take(ARCHIVE_BYTES_MAX));
        for (count, entry) in archive.entries()?.enumerate() {
            let entry = entry?;
            if count >= ENTRIES_MAX {
                self.problem(name, 0, format!("more than {ENTRIES_MAX} members: the rest is not read"));
                break;
            }
            let member = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type().is_file() && is_rule_name(&member) {
                self.reader(&format!("{name}!{member}"), entry, false)?;
            }
        }
        Ok(())
    }

    fn zip(&mut self, name: &str, file: fs::File) -> io::Result<()> {
        let mut archive = zip::ZipArchive::new(io::BufReader::new(file))?;
        let mut left = ARCHIVE_BYTES_MAX;
        for index in 0..archive.len().min(ENTRIES_MAX) {
            let member = match archive.by_index(index) {
                Ok(member) => member,
                Err(error) => {
                    self.problem(name, 0, format!("member {index} cannot be read: {error}"));
                    continue;
                }
            };
            let path = format!("{name}!{}", String::from_utf8_lossy(member.name_raw()));
            if !member.is_file() || !is_rule_name(&path) {
                continue;
            }
            left = left.saturating_sub(member.size().min(FILE_BYTES_MAX));
            if left == 0 {
                self.problem(name, 0, format!("unpacks to more than {ARCHIVE_BYTES_MAX} bytes: the rest is not read"));
                break;
            }
            if let Err(error) = self.reader(&path, member, false) {
                self.problem(&path, 0, format!("cannot be read: {error}"));
            }
        }
        Ok(())
    }

    fn text(&mut self, path: &str, text: &str, named: bool) {
        let yaml: Arc<str> = Arc::from(text);
        let (documents, fault) = yaml::documents(text);
        for document in &documents {
            if document.is_null() {
                continue;
            }
            match rule::read(document, path, &yaml, &mut self.set.fields) {
                Ok(rule) => self.keep(rule, named),
                Err(fault) => {
                    let text = |name| document.get(name).and_then(yaml::Node::text);
                    let rule_id = text("id").map(str::to_owned);
                    // What its author withdrew is not faulty as well: nobody is going to mend it.
                    let reason = text("status").filter(|status| !named && is_withdrawn(status)).map_or(fault.reason, withdrawn);
                    self.problems.push(RuleProblem { path: path.to_owned(), line: fault.line, rule_id, reason });
                }
            }
        }
        if let Some(fault) = fault {
            self.problem(path, fault.line, fault.reason);
        }
    }

    fn keep(&mut self, rule: Rule, named: bool) {
        let mut reject = |reason: String| {
            self.problems.push(RuleProblem { path: rule.path.clone(), line: rule.line, rule_id: Some(rule.id.clone()), reason });
        };
        if !named && is_withdrawn(&rule.status) {
            return reject(withdrawn(&rule.status));
        }
        if let Some(first) = self.ids.get(&rule.id) {
            return reject(format!("not used: `{first}` already has a rule with this id"));
        }
        self.ids.insert(rule.id.clone(), format!("{}:{}", rule.path, rule.line));
        if matches!(rule.body, Body::Filter { .. }) {
            self.set.filters.push(rule);
        } else {
            self.set.rules.push(rule);
        }
    }

    /// A correlation that counts a rule nobody loaded can never match: that is said, not left to be found out.
    fn unknown_references(&mut self) {
        let known: hashbrown::HashSet<String> =
            self.set.rules.iter().flat_map(|rule| [Some(rule.id.clone()), rule.name.clone()]).flatten().collect();
        let mut unusable = Vec::new();
        for (index, rule) in self.set.rules.iter().enumerate() {
            let Body::Correlation(correlation) = &rule.body else { continue };
            if let Some(missing) = correlation.rules.iter().find(|name| !known.contains(*name)) {
                unusable.push((index, format!("correlates `{missing}`, which is not loaded")));
            }
        }
        for (index, reason) in unusable.into_iter().rev() {
            let rule = self.set.rules.remove(index);
            self.problems.push(RuleProblem { path: rule.path, line: rule.line, rule_id: Some(rule.id), reason });
        }
    }
}

fn is_withdrawn(status: &str) -> bool {
    matches!(status, "deprecated" | "unsupported")
}

fn withdrawn(status: &str) -> String {
    format!("not used: its author marks it `{status}`; name the file itself to use it")
}

fn is_rule_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".yml") || name.ends_with(".yaml")
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match reader.read(&mut buffer[got..])? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}
