//! What a running program costs, read from `/proc`: CPU time in all, by thread name, and the most memory it held.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::run::Done;

/// What a whole process took.
#[derive(Clone, Copy)]
pub struct Cost {
    /// From start to end, seconds.
    pub wall: f64,
    /// User and system time, seconds, to one clock tick (10 ms).
    pub cpu: f64,
    /// Most resident memory, MiB.
    pub peak_mib: f64,
}

/// Runs a command to its end; its output is thrown away. Exit codes that `fine` names are no failure.
pub fn run(command: &mut Command, fine: &[i32]) -> Done<Cost> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let (mut cpu, mut peak_mib) = (0.0, 0.0);
    loop {
        // The last look is at most one pause old when the process ends.
        cpu = cpu_seconds(child.id()).unwrap_or(cpu).max(cpu);
        peak_mib = peak(child.id()).unwrap_or(peak_mib).max(peak_mib);
        if let Some(status) = child.try_wait().map_err(|error| format!("{command:?}: {error}"))? {
            let ended = status.code().is_some_and(|code| fine.contains(&code));
            return if ended {
                Ok(Cost { wall: started.elapsed().as_secs_f64(), cpu, peak_mib })
            } else {
                Err(format!("{command:?} ended with {status}"))
            };
        }
        std::thread::sleep(PAUSE);
    }
}

/// User and system time of a process so far, seconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    ticks(&format!("/proc/{pid}/stat")).map(|(_, ticks)| ticks / TICKS_PER_SECOND)
}

/// Most resident memory of a process so far, MiB.
pub fn peak(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// CPU seconds of the threads alive now, by name; threads of one name are added up.
pub fn by_thread(child: &Child) -> BTreeMap<String, f64> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten() {
        if let Some((name, ticks)) = ticks(&task.path().join("stat").to_string_lossy()) {
            *threads.entry(name).or_insert(0.0) += ticks / TICKS_PER_SECOND;
        }
    }
    threads
}

/// Name and used clock ticks of a `stat` file (proc(5)): the name is in parentheses and may have any character.
fn ticks(path: &str) -> Option<(String, f64)> {
    let stat = fs::read_to_string(path).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let (user, system) = (fields.get(11)?.parse::<f64>().ok()?, fields.get(12)?.parse::<f64>().ok()?);
    Some((name, user + system))
}

/// The median of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// `USER_HZ` of every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const PAUSE: Duration = Duration::from_millis(5);
