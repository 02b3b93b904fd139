//! A PostgreSQL server of the test's own: Debian's package, a folder and a socket that nobody else has.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use reeve_catalog::Server;

pub struct PostgreSql {
    programs: PathBuf,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl PostgreSql {
    /// A server with an empty database; `None` if none is installed and none is demanded.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("REEVE_REQUIRE_TOOLS").is_none(), "PostgreSQL is not installed (Debian: postgresql)");
            eprintln!("skipped: PostgreSQL is not installed (Debian: postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { programs, folder, child: None };
        if let Some((user, group)) = server.owner() {
            std::os::unix::fs::chown(server.folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = server.data();
        let words = ["-A", "trust", "-U", "reeve", "--no-sync", "-E", "UTF8", "--locale=C", "-D"].map(OsStr::new);
        let made = server.command("initdb").args(words).arg(&data).stdout(Stdio::null()).status().unwrap();
        assert!(made.success(), "initdb");
        server.launch();
        assert!(server.sql("postgres", "CREATE DATABASE lake"));
        Some(server)
    }

    pub fn launch(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=30"]);
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        for _ in 0..600 {
            if self.sql("postgres", "SELECT 1") {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("PostgreSQL does not start: {}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }

    /// Ends it as a crash would.
    pub fn crash(&mut self) {
        self.command("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()).stdout(Stdio::null()).status().unwrap();
        self.child.take().unwrap().wait().unwrap();
    }

    pub fn server(&self) -> Server {
        self.server_as("reeve", "lake")
    }

    pub fn server_as(&self, role: &str, database: &str) -> Server {
        let url = format!("postgres:///{database}?host={}&user={role}", self.folder.path().display());
        Server { url, password_file: None }
    }

    /// Runs SQL as the owner of everything; false if that failed.
    pub fn sql(&self, database: &str, text: &str) -> bool {
        let mut command = self.command("psql");
        command.arg("-h").arg(self.folder.path()).args(["-U", "reeve", "-d", database, "-q", "-X", "-c", text]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// An address of the server that leads past `Cutter`.
    pub fn cut(&self) -> Cutter {
        Cutter::new(self.folder.path().join(".s.PGSQL.5432"))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The server refuses to run as root.
    fn owner(&self) -> Option<(u32, u32)> {
        let number = |words: &[&str]| {
            let told = Command::new("id").args(words).output().ok()?;
            String::from_utf8(told.stdout).ok()?.trim().parse::<u32>().ok()
        };
        let root = number(&["-u"]) == Some(0);
        if root { Some((number(&["-u", "postgres"])?, number(&["-g", "postgres"])?)) } else { None }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.owner() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.crash();
        }
    }
}

fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin")).collect();
    versions.retain(|programs| programs.join("initdb").is_file());
    versions.sort();
    versions.pop()
}

/// What becomes of the next commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Nothing happens to it.
    None = 0,
    /// The connection breaks before it reaches the server.
    Before = 1,
    /// The connection breaks after the server has committed and before it says so.
    After = 2,
}

/// Stands between client and server, and breaks the connection at a commit.
pub struct Cutter {
    port: u16,
    next: Arc<AtomicU8>,
}

impl Cutter {
    fn new(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(AtomicU8::new(0));
        let told = next.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (told, socket) = (told.clone(), socket.clone());
                std::thread::spawn(move || pass(client, &socket, &told));
            }
        });
        Self { port, next }
    }

    pub fn server(&self) -> Server {
        Server { url: format!("postgres://reeve@127.0.0.1:{}/lake", self.port), password_file: None }
    }

    /// Breaks the connection at the next commit.
    pub fn arm(&self, cut: Cut) {
        self.next.store(cut as u8, Ordering::SeqCst);
    }
}

fn pass(mut client: TcpStream, socket: &Path, next: &AtomicU8) {
    let Ok(mut server) = UnixStream::connect(socket) else { return };
    let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answering = std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Both);
    });
    let mut bytes = [0; 65536];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        let said = &bytes[..count];
        let cut = if said.windows(7).any(|part| part == b"COMMIT\0") { next.swap(0, Ordering::SeqCst) } else { 0 };
        if cut != 0 {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
        if cut != 1 && server.write_all(said).is_err() {
            break;
        }
        if cut == 2 {
            // Long enough for the server to have committed; what it answers finds nobody.
            std::thread::sleep(Duration::from_millis(200));
        }
        if cut != 0 {
            break;
        }
    }
    let _ = server.shutdown(std::net::Shutdown::Both);
    let _ = answering.join();
}
