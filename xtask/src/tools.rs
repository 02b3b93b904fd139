//! What the tests and the demo need beyond Rust and Node, and how it gets here.

use std::{path::Path, process::Stdio};

use crate::run::{Done, program, step};

/// An outside program: how to see that it is there, Debian's packages that bring it, and what it is for.
pub struct Tool {
    there: fn() -> bool,
    packages: &'static [&'static str],
    purpose: &'static str,
}

/// What the build itself needs: C for zstd and SQLite.
pub const BUILD: &[Tool] =
    &[Tool { there: || on_path("cc"), packages: &["gcc", "libc6-dev"], purpose: "C compiler for zstd and SQLite" }];

/// Judges and real clients of the tests: programs we did not write.
pub const JUDGES: &[Tool] = &[
    Tool {
        there: || on_path("go") && Path::new("/usr/share/gocode/src/golang.org/x/mod/sumdb/note").exists(),
        packages: &["golang-go", "golang-golang-x-mod-dev"],
        purpose: "Go's x/mod/sumdb checks our checkpoints and proofs",
    },
    Tool {
        there: || Path::new("/usr/sbin/rsyslogd").exists() && glob_exists("/usr/lib", "rsyslog/omelasticsearch.so"),
        packages: &["rsyslog", "rsyslog-elasticsearch"],
        purpose: "real syslog and omelasticsearch clients",
    },
    Tool {
        there: || {
            ["omrelp", "lmnsd_gtls", "lmnsd_ossl"].iter().all(|module| glob_exists("/usr/lib", &format!("rsyslog/{module}.so")))
        },
        packages: &["rsyslog-relp", "rsyslog-gnutls", "rsyslog-openssl"],
        purpose: "real clients of RELP and of syslog over TLS",
    },
    Tool {
        there: || Path::new("/lib/systemd/systemd-journal-upload").exists(),
        packages: &["systemd-journal-remote"],
        purpose: "the journal's uploader",
    },
    Tool { there: || on_path("curl"), packages: &["curl"], purpose: "HTTP over TLS with a client certificate" },
    Tool { there: || on_path("logger"), packages: &["bsdutils"], purpose: "a real syslog client" },
    Tool {
        there: || {
            program("python3", &["-c", "import venv, ensurepip"])
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        },
        packages: &["python3", "python3-venv", "python3-pip"],
        purpose: "the official Python client, in a virtual environment of its own",
    },
    Tool { there: || on_path("softflowd"), packages: &["softflowd"], purpose: "a real exporter of NetFlow and IPFIX" },
    Tool { there: || on_path("mkfs.xfs"), packages: &["xfsprogs"], purpose: "power cuts on XFS" },
    Tool {
        there: || on_path("openssl"),
        packages: &["openssl"],
        purpose: "a time-stamping authority, and the judge of time-stamps",
    },
    Tool {
        there: || {
            program("python3", &["-c", "import cryptography"])
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        },
        packages: &["python3-cryptography"],
        purpose: "the witness, a process of its own",
    },
    Tool {
        there: || glob_exists("/usr/lib/postgresql", "bin/initdb"),
        packages: &["postgresql"],
        purpose: "a database server for the lake's catalog",
    },
    Tool { there: || on_path("softhsm2-util"), packages: &["softhsm2"], purpose: "a PKCS#11 token that keeps the stable key" },
    Tool { there: || on_path("chromium"), packages: &["chromium"], purpose: "the console's end-to-end test" },
];

/// Says what is missing, and installs it with Debian's package manager when run as root.
pub fn ensure(tools: &[Tool], may_install: bool) -> Done {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !(tool.there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("==> needed and not here:");
    for tool in &missing {
        eprintln!("    {:<42} {}", tool.packages.join(" "), tool.purpose);
    }
    let packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages.iter().copied()).collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !may_install || !is_root() || !on_path("apt-get") {
        return Err(format!("install these first: {by_hand}"));
    }
    eprintln!("    installing them now: {by_hand}");
    step("apt-get update", program("apt-get", &["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let mut words = vec!["install", "-y", "-qq", "--no-install-recommends"];
    words.extend(packages);
    step("apt-get install", program("apt-get", &words).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))?;
    match missing.iter().find(|tool| !(tool.there)()) {
        Some(tool) => Err(format!("installed {}, but it is still not found", tool.packages.join(" "))),
        None => Ok(()),
    }
}

fn is_root() -> bool {
    program("id", &["-u"]).output().is_ok_and(|output| output.stdout.starts_with(b"0"))
}

fn on_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

/// Whether `tail` exists in `dir` or one folder below it, as Debian's architecture folders are.
fn glob_exists(dir: &str, tail: &str) -> bool {
    Path::new(dir).join(tail).exists()
        || std::fs::read_dir(dir).is_ok_and(|entries| entries.flatten().any(|entry| entry.path().join(tail).exists()))
}
