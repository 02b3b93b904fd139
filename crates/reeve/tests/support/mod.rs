//! What the end-to-end tests have in common: the binary, a server, a client of its API, archives made by hand.
#![allow(dead_code, clippy::print_stdout, reason = "each test binary uses a part of it, and says what it skipped")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A request that fires the built-in rule [`SCANNER_RULE`].
pub(crate) const SCANNER: &str = r#"203.0.113.9 - - [21/Nov/2026:10:00:00 +0000] "GET /admin HTTP/1.1" 404 162 "-" "sqlmap/1.7.2#stable (https://sqlmap.org)""#;
/// Web Scanner Named In The User Agent.
pub(crate) const SCANNER_RULE: &str = "f4a1b95b-b125-4d50-9578-2024aa151191";

/// The binary under test; `REEVE_BIN` names another one.
pub(crate) fn binary() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_reeve").map(PathBuf::from);
    std::env::var_os("REEVE_BIN").map(PathBuf::from).or(built).expect("set REEVE_BIN to the reeve binary")
}

/// A path in the shared data; `None`, with a line that says so, where there is none.
pub(crate) fn data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("REEVE_SHARED_DATA")
        .map_or_else(|| PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../../shared/data"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data (`{}`)", path.display());
    None
}

/// How a command ended and what it said.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// Standard output as JSON lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: `{line}`"))).collect()
    }

    /// Fails unless the command ended with this code, and shows what it said.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "standard error:\n{}", self.stderr);
        self
    }

    /// Fails unless one line of standard error has all of these.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        let said = self.stderr.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(said, "no line with {words:?} in:\n{}", self.stderr);
        self
    }
}

/// Runs `reeve` with these arguments.
pub(crate) fn reeve<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    reeve_with(args, &[])
}

/// Runs `reeve` with arguments and environment.
pub(crate) fn reeve_with<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>, environment: &[(&str, &str)]) -> Ran {
    let started = Instant::now();
    let out = Command::new(binary())
        .args(args)
        .envs(environment.iter().copied())
        .env("REEVE_LOG", "off")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: out.status.code().unwrap_or(-1), stdout: text(&out.stdout), stderr: text(&out.stderr), took: started.elapsed() }
}

/// A server with every listener it needs on a free port.
pub(crate) struct Server {
    child: Child,
    pub(crate) console: String,
    pub(crate) http: String,
    listeners: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_with(data, more, &[])
    }

    /// The same, in this environment.
    pub(crate) fn start_with(data: &Path, more: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::launch(data, &[&["--syslog-udp", "off", "--syslog-tcp", "off", "--elastic", "off"], more].concat(), environment)
    }

    /// With every listener there is.
    pub(crate) fn start_all(data: &Path, watch: &Path) -> Self {
        let free = "127.0.0.1:0";
        let watch = watch.to_str().unwrap();
        Self::launch(data, &["--syslog-udp", free, "--syslog-tcp", free, "--elastic", free, "--watch", watch], &[])
    }

    fn launch(data: &Path, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--console", "127.0.0.1:0"]).args(more);
        if !more.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        command
            .arg("--data")
            .arg(data)
            .envs(environment.iter().copied())
            .env("REEVE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("no ready line but `{line}`: {error}"));
        assert_eq!(ready["ready"], true);
        assert_eq!(ready["data"], json!(std::path::absolute(data).unwrap()));
        let console = ready["console"].as_str().unwrap_or_else(|| panic!("no address in {ready}")).to_owned();
        let mut server = Self { child, console, http: String::new(), listeners: ready["listeners"].clone() };
        server.http = format!("http://{}", server.listener("http"));
        server
    }

    /// Address and port of a listener.
    pub(crate) fn listener(&self, name: &str) -> String {
        let url = self.listeners[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {}", self.listeners));
        url.split("://").nth(1).unwrap().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM; gives the exit code.
    pub(crate) fn stop(mut self) -> i32 {
        assert!(Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Posts lines to `/ingest/{source}`; gives status and answer.
    pub(crate) fn ingest(&self, source: &str, lines: &str) -> (u16, Value) {
        self.ingest_bytes(source, lines.as_bytes())
    }

    /// The same, with any bytes.
    pub(crate) fn ingest_bytes(&self, source: &str, lines: &[u8]) -> (u16, Value) {
        let mut answer = agent()
            .post(format!("{}/ingest/{source}", self.http))
            .header("content-type", "application/x-ndjson")
            .send(lines)
            .unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60))).build().into()
}

/// A client of the console's API; whatever it asks is answered with status and body.
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Client {
    /// Not signed in.
    pub(crate) fn new(server: &Server) -> Self {
        Self { agent: agent(), base: format!("{}/api/v1", server.console), cookie: String::new(), csrf: String::new() }
    }

    /// Signed in with the first account's name and password.
    pub(crate) fn signed_in(server: &Server, data: &Path) -> Self {
        let (user, password) = first_account(data);
        let mut client = Self::new(server);
        let (status, body) = client.sign_in(&user, &password);
        assert_eq!(status, 200, "{body}");
        client
    }

    pub(crate) fn sign_in(&mut self, user: &str, password: &str) -> (u16, Value) {
        let request = self.agent.post(format!("{}/session", self.base));
        let mut answer = request.send_json(json!({ "user": user, "password": password })).unwrap();
        let cookie = answer.headers().get("set-cookie").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        if !cookie.is_empty() {
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        }
        self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let body: Value = answer.body_mut().read_json().unwrap();
        self.csrf = body["csrf_token"].as_str().unwrap_or_default().to_owned();
        (answer.status().as_u16(), body)
    }

    /// Status and text of a GET.
    pub(crate) fn text(&self, path: &str, query: &[(&str, &str)]) -> (u16, String) {
        let mut request = self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let mut answer = request.call().unwrap();
        (answer.status().as_u16(), answer.body_mut().with_config().limit(1 << 30).read_to_string().unwrap())
    }

    /// Reads so many bytes of an answer, then hangs up.
    pub(crate) fn break_off(&self, path: &str, bytes: usize) {
        let request = self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let mut reader = request.call().unwrap().into_body().into_reader();
        reader.read_exact(&mut vec![0; bytes]).unwrap();
    }

    /// The compressed bytes of a GET.
    pub(crate) fn gzipped(&self, path: &str) -> Vec<u8> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let mut answer = request.header("accept-encoding", "gzip").call().unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-encoding"].to_str().unwrap()), (200, "gzip"));
        answer.body_mut().read_to_vec().unwrap()
    }

    /// A JSON document that must be there.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let (status, text) = self.text(path, query);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Rows of a search, and what `done` says.
    #[track_caller]
    pub(crate) fn search(&self, q: &str) -> (Vec<Value>, Value) {
        let (status, text) = self.text("/search", &[("q", q), ("limit", "10000")]);
        assert_eq!(status, 200, "{text}");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).cloned().collect::<Vec<_>>();
        let done = of("done").pop().unwrap_or_else(|| panic!("no end in {text}"));
        (of("row").into_iter().map(|mut line| line["row"].take()).collect(), done["cost"].clone())
    }

    /// Status and answer of a POST, with the CSRF token unless told otherwise.
    pub(crate) fn post(&self, path: &str, csrf: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let mut answer = request.header("x-csrf-token", csrf).send_json(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }

    /// Status and answer of a PATCH.
    pub(crate) fn patch(&self, path: &str, csrf: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.patch(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let mut answer = request.header("x-csrf-token", csrf).send_json(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }
}

/// Name and password of the account made on the first start.
pub(crate) fn first_account(data: &Path) -> (String, String) {
    let text = fs::read_to_string(data.join("first-account")).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next().unwrap())
}

/// Asks until there is an answer; gives it and how long that took.
#[track_caller]
pub(crate) fn within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> (T, Duration) {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return (answer, started.elapsed());
        }
        assert!(started.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A zip archive whose members are stored as they are.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut facts = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5A];
        facts.extend(crc32(content).to_le_bytes());
        facts.extend((content.len() as u32).to_le_bytes());
        facts.extend((content.len() as u32).to_le_bytes());
        facts.extend((name.len() as u16).to_le_bytes());
        facts.extend([0, 0]);
        let at = out.len() as u32;
        out.extend(b"PK\x03\x04");
        out.extend(&facts);
        out.extend(name.as_bytes());
        out.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&facts);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, count) = (out.len() as u32, members.len() as u16);
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A zstd frame of one byte repeated: 4 bytes for each 128 KiB (RFC 8878, RLE blocks).
pub(crate) fn zstd_bomb(byte: u8, unpacked_bytes: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    let blocks = unpacked_bytes.div_ceil(BLOCK).max(1);
    // Magic, no content size, a window of 1 MiB.
    let mut out = vec![0x28, 0xB5, 0x2F, 0xFD, 0, 10 << 3];
    for nth in 1..=blocks {
        let header = u32::from(nth == blocks) | 1 << 1 | (BLOCK as u32) << 3;
        out.extend(&header.to_le_bytes()[..3]);
        out.push(byte);
    }
    out
}

/// A member of a zip archive, by the `unzip` command; `None`, with a line that says so, where there is none.
pub(crate) fn unzipped(archive: &Path, member: &str) -> Option<Vec<u8>> {
    match Command::new("unzip").arg("-p").arg(archive).arg(member).output() {
        Ok(out) if out.status.success() && !out.stdout.is_empty() => Some(out.stdout),
        _ => {
            println!("skipped: `unzip` is not here or does not find `{member}`");
            None
        }
    }
}

/// Writes a file, with its folders.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(bytes.as_ref()).unwrap();
}
