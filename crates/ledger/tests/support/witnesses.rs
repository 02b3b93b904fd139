//! Real witnesses: `witness/witness.py`, each a process of its own.
//!
//! Needs Python with `cryptography`; `REEVE_PYTHON` names another interpreter than `target/witness/venv/bin/python` or `python3`.
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../witness/witness.py");

/// An interpreter that can run a witness; `None`, said aloud, where there is none.
pub fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/witness/venv/bin/python");
    let candidates = [std::env::var_os("REEVE_PYTHON").map(PathBuf::from), Some(own), Some("python3".into())];
    for python in candidates.into_iter().flatten() {
        let mut probe = Command::new(&python);
        probe.args(["-c", "import cryptography"]).stdout(Stdio::null()).stderr(Stdio::null());
        if probe.status().is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    let required = std::env::var("REEVE_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    assert!(!required, "no Python with `cryptography`");
    eprintln!("skipped: no Python with `cryptography`");
    None
}

/// A witness, running or stopped.
pub struct Witness {
    python: PathBuf,
    pub folder: PathBuf,
    pub vkey: String,
    pub url: String,
    port: u16,
    logs: Vec<String>,
    /// Certificate with its key, in one file: then it serves https.
    pub certificate: Option<PathBuf>,
    process: Option<Child>,
}

impl Witness {
    /// Makes a key; watches the logs of these verifier keys when it is started.
    pub fn new(python: &Path, folder: &Path, name: &str, logs: &[String]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let made = Command::new(python).args([SCRIPT, "keygen", name]).arg(folder.join("key")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let vkey = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let mut witness = Self {
            python: python.into(),
            folder: folder.into(),
            vkey,
            url: String::new(),
            port: 0,
            logs: logs.into(),
            certificate: None,
            process: None,
        };
        witness.start();
        witness
    }

    /// Starts it, on the port it had before.
    pub fn start(&mut self) {
        let mut command = Command::new(&self.python);
        command.args([SCRIPT, "serve", "--listen", &format!("127.0.0.1:{}", self.port)]);
        command.arg("--key").arg(self.folder.join("key")).arg("--state").arg(self.folder.join("state"));
        self.logs.iter().for_each(|log| _ = command.args(["--log", log]));
        self.certificate.iter().for_each(|file| _ = command.arg("--tls-cert").arg(file));
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("output")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let field = |name: &str| {
            line.split_once(&format!("\"{name}\": \"")).and_then(|(_, rest)| rest.split('"').next().map(str::to_owned))
        };
        self.url = field("url").unwrap_or_else(|| panic!("the witness does not start: {line}"));
        self.port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        self.process = Some(process);
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Its operator takes the record of a log back.
    pub fn roll_back(&self, origin: &str, size: u64, root: &str) -> Output {
        let mut command = Command::new(&self.python);
        command.args([SCRIPT, "rollback", "--state"]).arg(self.folder.join("state"));
        command.args(["--origin", origin, "--size", &size.to_string(), "--root", root, "--reason", "told by ana and ben"]);
        command.output().unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop();
    }
}
