//! The stable key in a PKCS#11 token (SoftHSM), from the first start to an offline verification.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it is wrong")]
mod support;

use std::{fs, path::Path, process::Command};

use support::{Server, binary, reeve};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

/// A token with one Ed25519 key pair, below `folder`; names its settings to every process this test starts.
fn token(folder: &Path) {
    let (tokens, conf, pem) = (folder.join("tokens"), folder.join("softhsm2.conf"), folder.join("key.pem"));
    fs::create_dir(&tokens).unwrap();
    fs::write(&conf, format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display()))
        .unwrap();
    let util = |args: &[&str]| run(Command::new("softhsm2-util").args(args).env("SOFTHSM2_CONF", &conf));
    util(&["--init-token", "--free", "--label", "reeve", "--so-pin", "12345678", "--pin", "87654321"]);
    run(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out", pem.to_str().unwrap()]));
    util(&["--import", pem.to_str().unwrap(), "--token", "reeve", "--label", "stable", "--id", "a1", "--pin", "87654321"]);
    fs::remove_file(&pem).unwrap();
    fs::write(folder.join("pin"), "87654321\n").unwrap();
}

#[test]
fn the_stable_key_never_leaves_the_token() {
    if Command::new("softhsm2-util").arg("--version").output().is_err() || !Path::new(MODULE).exists() {
        assert!(std::env::var_os("REEVE_REQUIRE_TOOLS").is_none(), "softhsm2 is needed");
        println!("skipped: no softhsm2");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    token(folder.path());
    // Every process below inherits it; this test binary has no other test.
    let conf = folder.path().join("softhsm2.conf");
    let (data, config) = (folder.path().join("data"), folder.path().join("reeve.toml"));
    let written = |token: &str, pin: &str| {
        let text =
            format!("[ledger.pkcs11]\nmodule = \"{MODULE}\"\ntoken = \"{token}\"\nkey = \"stable\"\npin_file = \"{pin}\"\n");
        fs::write(&config, text).unwrap();
    };
    let serve = || {
        let out = Command::new(binary())
            .args(["serve", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    written("other", "pin");
    let (code, said) = serve();
    assert!(code == Some(3) && said.contains("no token labelled `other`") && said.contains("reeve"), "{said}");
    fs::write(folder.path().join("wrong"), "0000\n").unwrap();
    written("reeve", "wrong");
    let (code, said) = serve();
    assert!(code == Some(3) && said.contains("does not take the PIN"), "{said}");

    written("reeve", "pin");
    let environment = [("SOFTHSM2_CONF", conf.to_str().unwrap())];
    let server = Server::start_with(&data, &["--config", config.to_str().unwrap()], &environment);
    assert_eq!(server.ingest("app", "{\"n\":1}\n{\"n\":2}\n").0, 200);
    assert_eq!(server.stop(), 0);
    for log in ["ledger", "audit"] {
        assert!(!data.join(log).join("keys/checkpoint.key").exists(), "the stable key is a file");
    }
    // Verification needs the public key alone, commands on the folder find the token by the note.
    let place = data.to_str().unwrap();
    reeve(["ledger", "verify", "--data", place]).ended(0);
    let found = support::reeve_with(["search", "*", "--data", place], &environment).ended(0);
    assert!(found.stdout.contains("\"source\":\"app\""), "{}", found.stdout);
    reeve(["search", "*", "--data", place]).ended(3).says(&["PKCS#11"]);
}
