//! `reeve serve`: listeners, record, reading, console, in one process.
pub(crate) mod config;
mod deliveries;
mod keep;
pub(crate) mod reading;
mod scrub;
mod upkeep;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::serve::ListenerExt as _;
use bytes::Bytes;
use reeve_completeness::{Numbered, Query};
use reeve_detect::{Engine, RuleSet};
use reeve_record::Transport;
use reeve_source::{
    Elastic, ForwardOptions, HttpLimits, Intake, Place, Running, Splitter, StreamLimits, Tls, WatchOptions, Watcher, serve_flows,
    serve_forward, serve_gelf_tcp, serve_gelf_udp, serve_http, serve_relp, serve_tcp, serve_udp,
};
use tokio::{sync::watch, task::JoinHandle};

pub(crate) use self::config::Args;
use self::{
    config::{Config, Listening},
    deliveries::{Gate, Losses},
    keep::{LedgerKeeper, Space},
    reading::{Progress, Reading},
    scrub::Scrub,
    upkeep::Upkeep,
};
use crate::{
    asked::Answering,
    completeness_cmd,
    exit::{self, Failure, USAGE},
    folder::{self, Folder},
    output,
    sources::Desk,
};

/// Runs the server until it is told to stop.
pub(crate) fn run(args: Args) -> ExitCode {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("REEVE_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    // Already set up is fine: then somebody else listens.
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_ansi(colour).try_init();
    exit::of(Config::load(args).and_then(serve))
}

fn serve(config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(USAGE, format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(Server::run(config));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

struct Server {
    config: Config,
    folder: Folder,
    engine: Arc<Engine>,
    rules: Arc<RuleSet>,
    space: Arc<Space>,
    intake: Intake,
    numbered: Arc<Numbered>,
    desk: Arc<Desk>,
    losses: Arc<Losses>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
    listeners: BTreeMap<&'static str, String>,
    running: Vec<(String, JoinHandle<()>)>,
    scrubbed: Option<Arc<parking_lot::Mutex<Option<scrub::Scrubbed>>>>,
}

impl Server {
    async fn run(config: Config) -> Result<(), Failure> {
        let signals = Signals::new()?;
        let alive = deliveries::last_alive(&config.data);
        let folder = Folder::open_with(&config.data, &config.origin, &config.ledger, Some(&config.lake))?;
        // A full disk must not keep a server from starting: what it has can still be read.
        if let Err(error) = folder.access.own_act("server_start", serde_json::json!({ "alive": alive })) {
            tracing::error!(%error, "the start could not be recorded: statements of completeness will not know when no server ran");
        }
        let (engine, rules) = folder::engine(&config.rules)?;
        let space = Space::new(config.limits.disk_reserve_bytes);
        space.measure(&config.data);
        let numbered = deliveries::open(&folder.dir, folder.ledger.clone(), config.sources.clone(), folder.queue.clone())
            .map_err(|error| Failure::new(USAGE, format!("cannot register the numbered sources: {error}")))?;
        let numbered = Arc::new(numbered);
        let desk = Desk::open(&config.data)?;
        desk.check_against(config.sources.iter().map(|source| source.key.name()))?;
        let keeper = LedgerKeeper::new(folder.ledger.clone(), space.clone(), desk.senders());
        let intake = Intake::new(Arc::new(keeper))
            .with_deliveries(Arc::new(Gate { numbered: numbered.clone(), space: space.clone() }))
            .with_senders(desk.senders());
        let desk = Arc::new(desk.counting(intake.counters.clone()));
        let losses = Arc::new(Losses::new(intake.counters.clone(), folder.access.clone()));
        let (stop, stopped) = watch::channel(false);
        let measuring = tokio::spawn(measure(space.clone(), config.data.clone()));
        let answering = Answering {
            data: config.data.clone(),
            access: folder.access.clone(),
            reads: folder.reads.clone(),
            desk: desk.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let asked = tokio::spawn(answer(answering));
        let looking_after = tokio::spawn(deliveries::look_after(numbered.clone(), losses.clone()));
        let mut server = Self {
            config,
            folder,
            engine: Arc::new(engine),
            rules,
            space,
            intake,
            numbered,
            desk,
            losses,
            stop,
            stopped,
            listeners: BTreeMap::new(),
            running: Vec::new(),
            scrubbed: None,
        };

        let reading = server.start_reading()?;
        let scrubbing = Arc::new(AtomicBool::new(false));
        if let Some(every) = server.config.scrub {
            let scrub = Scrub::new(&server.folder.dir, server.folder.access.clone(), every);
            server.scrubbed = Some(scrub.last());
            scrub.start(scrubbing.clone());
        }
        // Whatever cannot be opened ends the start; what runs by then is stopped as at any other end.
        let opened = server.open(reading.progress.clone()).await;
        if opened.is_ok() {
            server.desk.listening(server.addresses());
            server.say_ready()?;
            signals.wait().await;
            tracing::info!("stopping: listeners first, then what they took is read and sealed");
        }
        scrubbing.store(true, Relaxed);
        looking_after.abort();
        asked.abort();
        server.close(reading).await;
        measuring.abort();
        opened
    }

    fn start_reading(&self) -> Result<ReadingThread, Failure> {
        let folder = &self.folder;
        let reading = Reading::new(
            &folder.dir,
            folder.ledger.clone(),
            folder.lake.clone(),
            self.engine.clone(),
            folder.queue.clone(),
            self.config.limits.reading_threads,
        )
        .counting(self.intake.counters.clone());
        let progress = reading.progress();
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, space) = (stop.clone(), self.space.clone());
        let thread =
            std::thread::Builder::new().name("reading".to_owned()).spawn(move || reading.run(&flag, || space.is_tight()));
        let failed = |error: std::io::Error| Failure::new(USAGE, format!("cannot start a thread: {error}"));
        let upkeep = Upkeep::new(folder.ledger.clone(), folder.lake.clone(), progress.clone(), self.space.clone());
        let upkeep = upkeep.start().map_err(failed)?;
        Ok(ReadingThread { thread: thread.map_err(failed)?, upkeep, stop, progress })
    }

    async fn open(&mut self, progress: Arc<Progress>) -> Result<(), Failure> {
        if let Some(address) = self.config.console.socket() {
            let running = open_console(address, self.console(progress)?, self.stopped.clone()).await?;
            self.listeners.insert("console", format!("http://{}", running.address));
            self.running.push(("console".to_owned(), running.done));
        }
        if let Some(address) = self.config.syslog_udp.socket() {
            let running = serve_udp(&Place::plain("syslog_udp", address), self.intake.clone(), self.stopped.clone()).await;
            self.took("syslog_udp", "udp", running)?;
        }
        if let Some(address) = self.config.gelf_udp.socket() {
            let (place, max) = (Place::plain("gelf_udp", address), self.config.limits.record_bytes);
            let running = serve_gelf_udp(&place, self.intake.clone(), max, self.stopped.clone()).await;
            self.took("gelf_udp", "udp", running)?;
        }
        for (name, address) in [("netflow", self.config.netflow), ("sflow", self.config.sflow)] {
            let Some(address) = address.socket() else { continue };
            let running = serve_flows(&Place::plain(name, address), self.intake.clone(), self.stopped.clone()).await;
            self.took(name, "udp", running)?;
        }
        if let Some(address) = self.config.syslog_tcp.socket() {
            let place = Place::plain("syslog_tcp", address);
            let running = serve_tcp(&place, self.intake.clone(), self.stream_limits(), self.stopped.clone()).await;
            self.took("syslog_tcp", "tcp", running)?;
        }
        for (name, listener) in std::mem::take(&mut self.config.streams) {
            let Some(place) = place(name, &listener)? else { continue };
            let running = self.open_stream(&place, &listener).await;
            self.took(name, if place.tls.is_some() { "tls" } else { "tcp" }, running)?;
        }
        for (name, listener) in std::mem::take(&mut self.config.http) {
            let Some(place) = place(name, &listener)? else { continue };
            let running = self.open_http(&place, &listener).await;
            self.took(name, if place.tls.is_some() { "https" } else { "http" }, running)?;
        }
        for (nth, folder) in self.config.watch.clone().into_iter().enumerate() {
            self.watch(nth, folder)?;
        }
        Ok(())
    }

    fn console(&self, progress: Arc<Progress>) -> Result<axum::Router, Failure> {
        let folder = &self.folder;
        first_account(folder)?;
        let (ledger, lake, space, sources, loaded) =
            (folder.ledger.clone(), folder.lake.clone(), self.space.clone(), self.intake.counters.clone(), self.rules.len());
        let scrubbed = self.scrubbed.clone();
        let counters = move || {
            let scrub = scrubbed.as_ref().and_then(|last| last.lock().clone());
            serde_json::json!({
                "ledger": ledger.status(), "lake": lake.status(), "reading": progress.line(), "intake": sources.snapshot(),
                "lag_records": ledger.count_from(progress.next()), "rules": loaded, "disk_free_bytes": space.free_bytes(), "disk_pressure": space.pressure(), "disk_state": space.state(), "scrub": scrub,
            })
        };
        let place = completeness_cmd::Place {
            ledger: folder.ledger.clone(),
            audit: folder.access.audit().clone(),
            lake: folder.lake.clone(),
        };
        let (numbered, handle) = (self.numbered.clone(), tokio::runtime::Handle::current());
        let completeness = move |asked: &reeve_api::CompletenessOf| {
            let numbered = numbered.any_fits(&asked.source);
            let query = Query { source: asked.source.clone(), from: asked.from, to: asked.to, numbered };
            let (statement, note) = place.state(&query, &handle)?;
            Ok(reeve_api::SignedStatement { statement: serde_json::to_value(statement).unwrap_or_default(), note })
        };
        Ok(reeve_api::router(Arc::new(reeve_api::App {
            access: folder.access.clone(),
            accounts: folder.accounts.clone(),
            reads: folder.reads.clone(),
            ledger: folder.ledger.clone(),
            case: folder.queue.clone(),
            rules: self.rules.clone(),
            counters: Box::new(counters),
            completeness: Box::new(completeness),
            sources: self.desk.clone(),
        })))
    }

    fn stream_limits(&self) -> StreamLimits {
        let limits = &self.config.limits;
        StreamLimits {
            message_bytes_max: limits.message_bytes,
            connections_max: limits.connections,
            connections_per_peer_max: limits.connections_per_peer,
            idle: Duration::from_secs(limits.idle_seconds),
        }
    }

    async fn open_stream(&self, place: &Place, listener: &Listening) -> Result<Running, reeve_source::Error> {
        let (intake, limits, stopped) = (self.intake.clone(), self.stream_limits(), self.stopped.clone());
        let record_bytes_max = self.config.limits.record_bytes;
        match place.name.as_str() {
            "relp" => serve_relp(place, intake, limits, stopped).await,
            "gelf_tcp" => {
                serve_gelf_tcp(place, intake, StreamLimits { message_bytes_max: record_bytes_max, ..limits }, stopped).await
            }
            "forward" => {
                // A message is a chunk of many events.
                let limits = StreamLimits { message_bytes_max: self.config.limits.body_bytes, ..limits };
                let options = ForwardOptions { shared_key: listener.shared_key.clone(), record_bytes_max };
                serve_forward(place, intake, limits, options, stopped).await
            }
            _ => serve_tcp(place, intake, limits, stopped).await,
        }
    }

    async fn open_http(&self, place: &Place, listener: &Listening) -> Result<Running, reeve_source::Error> {
        let limits = &self.config.limits;
        let bounds = HttpLimits {
            body_bytes_max: limits.body_bytes,
            record_bytes_max: limits.record_bytes,
            connections_max: limits.connections,
            connections_per_peer_max: limits.connections_per_peer,
            ..HttpLimits::default()
        };
        let mut elastic = Elastic::default();
        if let Some(version) = &listener.version {
            elastic.version.clone_from(version);
        }
        serve_http(place, self.intake.clone(), listener.tokens.clone(), bounds, elastic, self.stopped.clone()).await
    }

    fn took(&mut self, name: &'static str, scheme: &str, running: Result<Running, reeve_source::Error>) -> Result<(), Failure> {
        let running = running.map_err(|error| Failure::new(USAGE, error))?;
        self.listeners.insert(name, format!("{scheme}://{}", running.address));
        self.running.push((name.to_owned(), running.done));
        Ok(())
    }

    fn watch(&mut self, nth: usize, folder: PathBuf) -> Result<(), Failure> {
        let note = self.config.data.join(format!("watch-{}.json", note_name(&folder)));
        let mut options = WatchOptions::new(folder, note);
        options.splitter = Some(splitter(self.config.limits.record_bytes));
        let ledger = &self.folder.ledger;
        let failed = |error: reeve_source::Error| Failure::new(USAGE, error);
        let mut watcher = Watcher::open(options, ledger.durable_end()).map_err(failed)?;
        let mut next = watcher.recover_from();
        loop {
            let records = ledger.read_from(next, 16_384).map_err(|error| Failure::new(USAGE, error))?;
            let Some(last) = records.last() else { break };
            next = reeve_record::RecordId { index: last.id.index + 1, ..last.id };
            for record in records.into_iter().filter(|record| record.receipt.transport == Transport::Watch) {
                watcher.recovered(&record.receipt.source, record.raw);
            }
        }
        self.running.push((format!("watch {nth}"), watcher.run(self.intake.clone(), self.stopped.clone())));
        Ok(())
    }

    /// Where the listeners are, by name.
    fn addresses(&self) -> BTreeMap<String, String> {
        let listeners = self.listeners.iter().filter(|(name, _)| **name != "console");
        listeners.map(|(name, url)| ((*name).to_owned(), url.clone())).collect()
    }

    fn say_ready(&self) -> Result<(), Failure> {
        let data = std::path::absolute(&self.config.data).unwrap_or_else(|_| self.config.data.clone());
        output::json(&serde_json::json!({
            "ready": true,
            "console": self.listeners.get("console"),
            "listeners": self.addresses(),
            "data": data,
        }))
    }

    /// Listeners first, so that nothing new comes; then what came is read, written and sealed.
    async fn close(self, reading: ReadingThread) {
        let _ = self.stop.send(true);
        for (name, done) in self.running {
            if tokio::time::timeout(Duration::from_secs(15), done).await.is_err() {
                tracing::warn!(listener = %name, "did not stop in time");
            }
        }
        let (ledger, audit) = (self.folder.ledger.clone(), self.folder.access.audit().clone());
        let (numbered, losses, access) = (self.numbered, self.losses, self.folder.access.clone());
        let lake = self.folder.lake.clone();
        let finish = tokio::task::spawn_blocking(move || {
            deliveries::save(&numbered);
            losses.tell();
            let (upkeep, stop_upkeep) = reading.upkeep;
            stop_upkeep.store(true, Relaxed);
            reading.stop.store(true, Relaxed);
            if upkeep.join().is_err() {
                tracing::error!("the lake's upkeep panicked; what it worked on stays as it was");
            }
            if reading.thread.join().is_err() {
                tracing::error!("the reading panicked; it will be made again from the record at the next start");
            }
            if let Err(error) = access.own_act("server_stop", serde_json::json!({})) {
                tracing::warn!(%error, "the stop could not be recorded: it will look like a kill");
            }
            // Files that this process replaced go when it ends: the table shall not name them then.
            if let Err(error) = lake.publish() {
                tracing::warn!(%error, "the Delta table may name files that are gone until the next start");
            }
            for (log, ledger) in [("record", ledger), ("audit", audit)] {
                if let Err(error) = ledger.seal_now() {
                    tracing::warn!(%error, log, "the last records are durable but not sealed yet; that follows at the next start");
                }
            }
        });
        let _ = finish.await;
    }
}

/// Where a listener listens, with its certificates read; `None` for one that is off.
fn place(name: &str, listener: &Listening) -> Result<Option<Place>, Failure> {
    let Some(address) = listener.address.socket() else { return Ok(None) };
    let tls = listener.tls.as_ref().map(Tls::load).transpose().map_err(|error| Failure::new(USAGE, error))?;
    Ok(Some(Place { tls, ..Place::plain(name, address) }))
}

struct ReadingThread {
    progress: Arc<Progress>,
    thread: std::thread::JoinHandle<()>,
    stop: Arc<AtomicBool>,
    upkeep: (std::thread::JoinHandle<()>, Arc<AtomicBool>),
}

/// On the first start an administrator is made; the password is in a file that only its owner can read.
fn first_account(folder: &Folder) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(USAGE, format!("cannot make the first account in `{}`: {error}", folder.dir.display()))
    };
    let Some(account) = folder.accounts.first("admin").map_err(|error| failed(&error))? else { return Ok(()) };
    let path = folder.dir.join("first-account");
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(|error| failed(&error))?;
    write!(file, "{}\n{}\n", account.name, account.password).map_err(|error| failed(&error))?;
    tracing::info!(name = account.name, file = %path.display(), "first start: sign in with the name and password in this file, then delete it");
    Ok(())
}

/// Files that are not plain text, taken apart as `reeve scan` does it.
fn splitter(record_bytes_max: usize) -> Splitter {
    struct Cut<'t>(&'t mut dyn FnMut(Bytes));
    impl reeve_decode::Sink for Cut<'_> {
        fn raw(&mut self, record: reeve_decode::RawRecord<'_>) {
            (self.0)(Bytes::copy_from_slice(record.raw));
        }

        fn problem(&mut self, source: &str, problem: reeve_decode::Problem) {
            tracing::warn!(source, code = problem.code, offset = problem.offset, detail = %problem.detail, "a watched file");
        }

        fn wants_events(&self) -> bool {
            false
        }
    }
    let limits = reeve_decode::Limits { record_bytes_max, ..reeve_decode::Limits::default() };
    Arc::new(move |path, take| {
        reeve_decode::read_path(path, &limits, &mut Cut(take));
        Ok(())
    })
}

/// A file name that stands for the folder.
fn note_name(folder: &Path) -> String {
    use sha2::{Digest as _, Sha256};
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    hex::encode(&Sha256::digest(absolute.as_os_str().as_encoded_bytes())[..6])
}

async fn measure(space: Arc<Space>, folder: PathBuf) {
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        space.measure(&folder);
    }
}

/// Answers what commands beside the server ask, and records what they are about to do.
async fn answer(answering: Answering) {
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        let answering = answering.clone();
        let _ = tokio::task::spawn_blocking(move || answering.answer()).await;
    }
}

/// One server at a time works on a data folder.
pub(crate) struct DataLock(#[allow(dead_code, reason = "held, not read: the lock goes with the file")] File);

impl DataLock {
    /// Takes the folder, creating it if need be.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written.
    pub(crate) fn take(data: &Path) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(USAGE, format!("cannot use the data folder `{}`: {error}", data.display()));
        std::fs::create_dir_all(data).map_err(failed)?;
        let path = data.join("reeve.lock");
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = Some(holder.trim()).filter(|pid| !pid.is_empty()).unwrap_or("unknown").to_owned();
                let message = format!(
                    "the data folder `{}` is in use by process {holder}: stop that server or choose another folder",
                    data.display()
                );
                return Err(Failure::new(USAGE, message));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self(file))
    }

    /// Whether a process has the folder.
    pub(crate) fn is_held(data: &Path) -> bool {
        let file = File::open(data.join("reeve.lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
    }
}

/// Being told to stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| Failure::new(USAGE, format!("cannot listen for signals: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Opens a listener for console and API.
async fn open_console(address: SocketAddr, router: axum::Router, mut stop: watch::Receiver<bool>) -> Result<Running, Failure> {
    let bind = |error| {
        Failure::new(
            USAGE,
            format!("cannot listen on tcp `{address}` for console: {error}; choose another address or stop what holds it"),
        )
    };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(bind)?;
    let bound = listener.local_addr().map_err(bind)?;
    // An answer in two parts would wait 40 ms for the browser to confirm the first.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let done = tokio::spawn(async move {
        let mut stopped = stop.clone();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        tokio::select! {
            _ = async { serving.await } => {}
            // A search under way must not hold up the stop.
            () = async {
                let _ = stop.wait_for(|stop| *stop).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            } => {}
        }
    });
    Ok(Running { address: bound, done })
}
