//! `cargo xtask demo`: the recorded scenario from logs to story.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    run::{Done, cargo, output, program, reeve, root, step, target_dir},
    test, tools, truth, verifier,
};

/// Builds, keeps the scenario, finds the attack, tells the story; opens the console or, with `--check`, compares with the truth.
pub fn demo(flags: &[&str]) -> Done {
    let (check, dev) = (flags.contains(&"--check"), flags.contains(&"--dev"));
    let profile = if dev { "debug" } else { "release" };
    if !dev {
        eprintln!(
            "This installs the console's npm packages into console/node_modules and builds Reeve in release, which takes\n\
             25 to 30 minutes the first time on two processors. A missing C compiler is named before it is installed. The demo's data folder is {}.",
            data().display()
        );
        verifier::announce();
    }
    tools::ensure(tools::BUILD, true)?;
    if !dev {
        test::build_console(true)?;
    }
    // Debug: with the same targets as the tests, since another choice of features would build the query engine a second time.
    let debug: &[&str] = &["build", "--locked", "--workspace", "--bins", "--tests"];
    step("build reeve", &mut cargo(if dev { debug } else { &["build", "--locked", "-p", "reeve", "--release"] }))?;
    let scenario = scenario()?;
    keep(profile, &scenario)?;
    let incident = tell(profile, !check)?;
    if check {
        return truth::compare(&scenario, &incident);
    }
    open_console(profile)
}

/// A running server on the demo's data folder; ends with this value.
pub struct Served {
    child: Child,
    /// The console's address.
    pub url: String,
    /// An account that may search.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl Served {
    /// Serves the demo's data folder on free ports and waits until it is ready.
    pub fn start(profile: &str) -> Done<Self> {
        let mut command = Command::new(reeve(profile));
        command.arg("serve").arg("--data").arg(data()).args([
            "--console",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--syslog-udp",
            "off",
            "--syslog-tcp",
            "off",
            "--elastic",
            "off",
        ]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("reeve serve has no standard output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("reeve serve: {error}"))?;
        let ready: Value =
            serde_json::from_str(&line).map_err(|error| format!("reeve serve did not get ready: `{line}`: {error}"))?;
        let path = data().join("first-account");
        let account = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut words = account.lines().map(str::to_owned);
        let (user, password) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let url = ready["console"].as_str().unwrap_or_default().to_owned();
        Ok(Self { child, url, user, password })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let asked = program("kill", &["-TERM", &self.child.id().to_string()]).status().is_ok_and(|status| status.success());
        if !asked {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The one recorded scenario in the repository.
pub fn scenario() -> Done<PathBuf> {
    let folder = root().join("cases/scenarios");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("truth.json").exists()).collect();
    found.sort();
    found.into_iter().next().ok_or_else(|| format!("{}: no scenario with a truth.json", folder.display()))
}

fn data() -> PathBuf {
    target_dir().join("demo-data")
}

fn keep(profile: &str, scenario: &std::path::Path) -> Done {
    if data().exists() {
        fs::remove_dir_all(data()).map_err(|error| format!("{}: {error}", data().display()))?;
    }
    let mut ingest = Command::new(reeve(profile));
    ingest.current_dir(scenario.join("logs")).args(["ingest", "."]).arg("--data").arg(data()).stdout(Stdio::null());
    step("keep, read and search the recorded logs for attacks", &mut ingest)
}

/// Reconstructs from the most severe alert; prints the story when asked and gives the incident's JSON.
fn tell(profile: &str, aloud: bool) -> Done<Value> {
    let alerts = output(Command::new(reeve(profile)).args(["alert", "list", "--format", "ndjson"]).arg("--data").arg(data()))?;
    let first = alerts.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let alert: Value = serde_json::from_slice(first).map_err(|error| format!("no alert was raised on the scenario: {error}"))?;
    let id = alert["id"].as_str().unwrap_or_default().to_owned();
    eprintln!(
        "==> {} alerts; the most severe: {} on {}",
        alerts.split(|b| *b == b'\n').count() - 1,
        alert["title"],
        alert["host"]
    );
    let reconstruct = |format: &str| {
        let mut command = Command::new(reeve(profile));
        command.args(["incident", "reconstruct", "--from-finding", &id, "--format", format]).arg("--data").arg(data());
        output(&mut command)
    };
    if aloud {
        let story = reconstruct("story")?;
        println!("{}", String::from_utf8_lossy(&story));
    }
    let incident = reconstruct("json")?;
    serde_json::from_slice(&incident).map_err(|error| format!("reeve incident reconstruct: {error}"))
}

fn open_console(profile: &str) -> Done {
    let mut served = Served::start(profile)?;
    println!(
        "\nThe console is at {}\n  user      {}\n  password  {}\n\nCtrl-C ends the demo.",
        served.url, served.user, served.password
    );
    // A machine without a desktop just shows the address.
    let _ = Command::new("xdg-open").arg(&served.url).stdout(Stdio::null()).stderr(Stdio::null()).status();
    served.child.wait().map(drop).map_err(|error| format!("reeve serve: {error}"))
}
