//! `cargo xtask test` and `check`: what CI runs, and the gate before a commit.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use crate::{
    demo, lanes,
    run::{Done, cargo, output, program, reeve, root, step, target_dir},
    tidy, tools, verifier,
};

/// Everything: tools, console, workspace tests, torture for some minutes, the demo's check, the console in Chromium.
pub fn test(flags: &[&str]) -> Done {
    let may_install = !flags.contains(&"--no-install");
    eprintln!(
        "This builds the console and the workspace in debug (the first time takes long: a query engine is inside), runs the tests with real clients,\n\
         checks the demo's story and drives the console in Chromium. Missing Debian packages are named before they are installed."
    );
    verifier::announce();
    tools::ensure(tools::BUILD, may_install)?;
    tools::ensure(tools::JUDGES, may_install)?;
    tidy::tidy()?;
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    build_console(may_install)?;
    step("console: unit tests", &mut npm(&["test"]))?;
    let tests = lanes::build()?;
    let variables = [
        ("REEVE_CLIENTS", installed("clients", "cases/clients/install.sh", "the clients that the listeners' tests drive")?),
        ("REEVE_PYTHON", witness()?.join("venv/bin/python")),
        ("REEVE_READERS", installed("readers", "cases/lake/readers/install.sh", READERS)?.join("venv/bin/python")),
        ("REEVE_SEAWEEDFS", installed("objects", "cases/lake/objects/install.sh", "SeaweedFS")?.join("venv/bin/weed")),
    ];
    let torture = Beside::start("torture --ci", &["torture", "--ci"])?;
    let tested = tests.run(&variables).and_then(|()| demo::demo(&["--check", "--dev"]));
    // Its table is shown whatever the tests came to. Beside it the browser would wait for the disk until its patience ends.
    torture.wait().and(tested)?;
    end_to_end("debug")
}

/// Another `cargo xtask` command on the processor time that others leave.
struct Beside {
    what: String,
    log: PathBuf,
    child: Child,
}

impl Beside {
    fn start(what: &str, words: &[&str]) -> Done<Self> {
        eprintln!("==> {what}, beside what follows; its output comes after that");
        let log = target_dir().join(format!("{}.log", words.join("-")));
        let failed = |error: std::io::Error| format!("{what}: {}: {error}", log.display());
        let out = fs::File::create(&log).map_err(failed)?;
        let me = std::env::current_exe().map_err(failed)?;
        let mut command = program("nice", &["-n", "10"]);
        command.arg(me).args(words).stdin(Stdio::null()).stderr(out.try_clone().map_err(failed)?).stdout(out);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { what: what.to_owned(), log, child })
    }

    fn wait(mut self) -> Done {
        let started = Instant::now();
        let status = self.child.wait().map_err(|error| format!("{}: {error}", self.what))?;
        eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        eprintln!("    {}: {:.1} s longer than what it ran beside", self.what, started.elapsed().as_secs_f64());
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.what)) }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// The Python environment that the witness and the Python verifier run in, beside the build.
pub fn witness() -> Done<PathBuf> {
    installed("witness", "witness/install.sh", "the Python verifier's packages")
}

/// What a script installs into a folder of its own beside the build: again when the script changed since the last time.
fn installed(name: &str, script: &str, what: &str) -> Done<PathBuf> {
    let folder = target_dir().join(name);
    let (list, stamp) = (root().join(script), folder.join(".installed"));
    let list = fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    if fs::read_to_string(&stamp).is_ok_and(|seen| seen == list) {
        return Ok(folder);
    }
    step(&format!("install {what} into {}", folder.display()), program("sh", &[script]).arg(&folder))?;
    fs::write(&stamp, &list).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(folder)
}

/// The gate: format, lints, tree rules, dependency policy.
pub fn check() -> Done {
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::tidy()?;
    step("lints", &mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]))?;
    if cargo(&["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return step("dependency policy", &mut cargo(&["deny", "check", "licenses", "bans", "sources"]));
    }
    eprintln!(
        "==> dependency policy: `cargo deny` is not installed; the licences were checked by the tree rules. cargo install cargo-deny"
    );
    Ok(())
}

/// The console alone.
pub fn console() -> Done {
    eprintln!("This installs the console's npm packages into console/node_modules.");
    verifier::announce();
    build_console(true)
}

/// Installs the console's packages from the lock file and builds it, with the verifier that its badges run.
pub fn build_console(may_install: bool) -> Done {
    verifier::build(may_install)?;
    // `npm ci` wipes node_modules: run it only when the lock file changed since the last time.
    let stamp = root().join("console/node_modules/.reeve-lock");
    let lock = fs::read_to_string(root().join("console/package-lock.json"))
        .map_err(|error| format!("console/package-lock.json: {error}"))?;
    if fs::read_to_string(&stamp).is_ok_and(|seen| seen == lock) {
        eprintln!("==> console: packages are as the lock file says");
    } else {
        step("console: install packages into console/node_modules (npm ci)", &mut npm(&["ci", "--no-audit", "--no-fund"]))?;
        fs::write(&stamp, &lock).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    step("console: check types", &mut npm(&["run", "typecheck"]))?;
    step("console: build", &mut npm(&["run", "build"]))
}

/// Serves the scenario and drives the console on it in Chromium.
fn end_to_end(profile: &str) -> Done {
    let served = demo::Served::start(profile)?;
    let mut e2e = npm(&["run", "e2e"]);
    e2e.env("BASE_URL", &served.url).env("REEVE_USER", &served.user).env("REEVE_PASSWORD", &served.password);
    step("console: end to end in Chromium", &mut e2e)
}

/// Writes console/openapi.json and the TypeScript types made from it.
pub fn openapi() -> Done {
    step("build reeve", &mut cargo(&["build", "--locked", "--workspace", "--bins", "--tests"]))?;
    let text = output(&mut program(reeve("debug"), &["openapi"]))?;
    fs::write(root().join("console/openapi.json"), text).map_err(|error| format!("console/openapi.json: {error}"))?;
    step("console: types from OpenAPI", &mut npm(&["run", "api"]))
}

fn npm(words: &[&str]) -> Command {
    let mut command = program("npm", words);
    command.current_dir(root().join("console"));
    command
}

const READERS: &str = "DuckDB, delta-rs and chDB, which read the lake's Delta table";
