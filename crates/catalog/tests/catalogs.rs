//! What every catalog promises, asked of SQLite always and of a real PostgreSQL server where one is installed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]

mod postgresql;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use postgresql::{Cut, PostgreSql};
use reeve_catalog::{
    Bound, Catalog, Change, Error, MIXED, PostgresCatalog, READ_POSITION, Range, SegmentRow, Server, SqliteCatalog, Stored,
    Withdrawn,
};
use reeve_record::RecordId;

/// Opens the same catalog again, as another process would.
type Open<'a> = &'a (dyn Fn() -> Arc<dyn Catalog> + Sync);

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);
const FOLDER: &str = "events/2026-11-21/1007";

fn id(index: u32) -> RecordId {
    RecordId { segment: 3, index }
}

fn row(path: &str) -> SegmentRow {
    let text = |text: &str| Bound::Text(text.to_owned());
    let ranges = BTreeMap::from([
        ("host".to_owned(), Range { bounds: Some((text("a\0b"), text("ÿ\"'"))), nulls: 3 }),
        ("pid".to_owned(), Range { bounds: Some((Bound::Integer(i64::MIN), Bound::Integer(i64::MAX))), nulls: 0 }),
        ("none".to_owned(), Range { bounds: None, nulls: 700 }),
    ]);
    SegmentRow {
        path: path.to_owned(),
        day: 20_778,
        class_uid: MIXED,
        rows: 700,
        bytes: u64::from(u32::MAX) + 1,
        sha256: Some([7; 32]),
        counts: Some(Stored { bytes: 99, sha256: [8; 32] }),
        time: (-1, 1_795_219_260_000_000),
        host: Some(("\0".to_owned(), "web01\0".to_owned())),
        ranges,
        rewrites: 2,
    }
}

fn bare(path: &str) -> SegmentRow {
    SegmentRow { sha256: None, counts: None, host: None, ranges: BTreeMap::new(), rewrites: 0, ..row(path) }
}

fn paths(catalog: &dyn Catalog) -> Vec<String> {
    catalog.load().unwrap().0.into_iter().map(|row| row.path).collect()
}

fn departed(catalog: &dyn Catalog) -> Vec<String> {
    catalog.departed().unwrap().into_iter().map(|file| file.path).collect()
}

fn superseded(error: Error) -> String {
    match error {
        Error::Superseded { what } => what,
        other => panic!("{other}"),
    }
}

fn what_is_committed_is_there(open: Open) {
    let catalog = open();
    let (first, second) = (catalog.announce(FOLDER, "me", LONG).unwrap(), catalog.announce(FOLDER, "me", LONG).unwrap());
    assert_eq!(
        (first.as_str(), second.as_str()),
        ("events/2026-11-21/1007/000000000001.parquet", "events/2026-11-21/1007/000000000002.parquet")
    );
    let names = ["seq".to_owned(), "a\0b".to_owned(), "é".to_owned()];
    let add = [row(&first), bare(&second)];
    let read_through = Some((RecordId::default(), id(7)));
    catalog.commit(&Change { add: &add, names: &names, read_through, ..Change::default() }).unwrap();
    let other = open();
    assert_eq!(other.load().unwrap(), (add.to_vec(), id(7)));
    let known: BTreeSet<String> = other.names().unwrap().into_iter().collect();
    assert_eq!(known, names.into_iter().collect());
    // Names again, and as many as a flush may bring.
    let many: Vec<String> = (0..2000).map(|nth| format!("name{nth}")).chain(["seq".to_owned()]).collect();
    catalog.commit(&Change { names: &many, ..Change::default() }).unwrap();
    assert_eq!(other.names().unwrap().len(), 2003);
    assert_eq!(other.load().unwrap().1, id(7), "the position is left");
}

fn a_commit_holds_as_a_whole_or_not_at_all(open: Open) {
    let catalog = open();
    let [one, two, three] = [(); 3].map(|()| catalog.announce(FOLDER, "me", LONG).unwrap());
    catalog.commit(&Change { add: &[bare(&one)], ..Change::default() }).unwrap();
    let before = catalog.load().unwrap();
    let fail = |change: &Change<'_>| superseded(catalog.commit(change).unwrap_err());
    let add = [bare(&two)];
    let gone = ["events/none.parquet".to_owned()];
    assert_eq!(fail(&Change { add: &add, remove: &gone, ..Change::default() }), gone[0]);
    let both = [one.clone(), gone[0].clone()];
    assert_eq!(fail(&Change { add: &add, remove: &both, names: &gone, ..Change::default() }), gone[0]);
    let unannounced = [bare(&two), bare("events/strange.parquet")];
    assert_eq!(fail(&Change { add: &unannounced, remove: &both[..1], ..Change::default() }), "events/strange.parquet");
    let from = id(1);
    assert_eq!(fail(&Change { add: &add, read_through: Some((from, id(9))), ..Change::default() }), READ_POSITION);
    assert_eq!(fail(&Change { add: &add, lease: Some(("slot", "me")), ..Change::default() }), "slot");
    assert_eq!(catalog.load().unwrap(), before);
    assert!(catalog.names().unwrap().is_empty() && departed(&*catalog).is_empty());
    // What failed may be tried again; what was live once is not live again.
    let replace = Change { add: &add, remove: &both[..1], read_through: Some((RecordId::default(), id(9))), ..Change::default() };
    catalog.commit(&replace).unwrap();
    assert_eq!((paths(&*open()), open().load().unwrap().1), (vec![two.clone()], id(9)));
    assert_eq!(fail(&Change { add: &[bare(&three)], remove: &both[..1], ..Change::default() }), one);
}

fn a_file_is_named_from_its_announcement_to_its_end(open: Open) {
    let catalog = open();
    let [live, left, mine] = [(); 3].map(|()| catalog.announce(FOLDER, "me", LONG).unwrap());
    let late = catalog.announce(FOLDER, "slow", SHORT).unwrap();
    let others = catalog.announce(FOLDER, "other", LONG).unwrap();
    catalog.commit(&Change { add: &[bare(&live), bare(&left)], ..Change::default() }).unwrap();
    assert!(departed(&*catalog).is_empty(), "what is announced or live has not departed");
    assert_eq!(open().announced().unwrap(), [mine.clone(), late.clone(), others.clone()]);
    catalog.commit(&Change { remove: std::slice::from_ref(&left), ..Change::default() }).unwrap();
    std::thread::sleep(SHORT + SHORT);
    assert_eq!(departed(&*open()), [left.clone(), late.clone()], "replaced, and never finished");
    assert_eq!(superseded(catalog.commit(&Change { add: &[bare(&late)], ..Change::default() }).unwrap_err()), late);
    catalog.withdraw(Withdrawn::Owner("me")).unwrap();
    catalog.withdraw(Withdrawn::Paths(&[live.clone(), "events/none.parquet".to_owned()])).unwrap();
    assert_eq!(departed(&*catalog), [left.clone(), mine.clone(), late.clone()], "what is live does not depart");
    catalog.withdraw(Withdrawn::Paths(std::slice::from_ref(&others))).unwrap();
    let first = catalog.departed().unwrap().remove(0);
    assert!(first.path == left && first.age >= SHORT && first.age < LONG, "{first:?}");
    catalog.drop_departed(&[left, mine, late, others]).unwrap();
    assert!(departed(&*catalog).is_empty());
    assert_eq!(paths(&*catalog), [live]);
}

fn leases_pass_on_and_guard_commits(open: Open) {
    let (one, two) = (open(), open());
    assert!(one.lease("slot", "one", LONG).unwrap());
    assert!(one.lease("slot", "one", SHORT).unwrap(), "the holder may change its term");
    assert!(!two.lease("slot", "two", LONG).unwrap());
    std::thread::sleep(SHORT + SHORT);
    let change = Change { lease: Some(("slot", "one")), ..Change::default() };
    assert_eq!(superseded(one.commit(&change).unwrap_err()), "slot", "its term is over");
    assert!(two.lease("slot", "two", LONG).unwrap(), "it had ended");
    assert_eq!(superseded(one.commit(&change).unwrap_err()), "slot");
    one.release("slot", "one").unwrap();
    assert!(!one.lease("slot", "one", LONG).unwrap(), "only the holder gives it back");
    two.commit(&Change { lease: Some(("slot", "two")), ..Change::default() }).unwrap();
    two.release("slot", "two").unwrap();
    assert!(one.lease("slot", "one", LONG).unwrap());
}

fn files_are_kept_in_one_place(open: Open) {
    let catalog = open();
    catalog.keep_at("s3 reeve/lake").unwrap();
    open().keep_at("s3 reeve/lake").unwrap();
    let error = open().keep_at("folder 17").unwrap_err();
    assert!(matches!(&error, Error::Elsewhere { kept, .. } if kept == "s3 reeve/lake"), "{error}");
}

/// Several processes announce, flush, merge and take leases at once.
fn many_at_once_double_and_lose_nothing(open: Open) {
    const THREADS: usize = 4;
    const FLUSHES: usize = 12;
    let work = |nth: usize| {
        let catalog = open();
        let name = format!("process {nth}");
        let (mut announced, mut flushed, mut merged) = (Vec::new(), 0, 0);
        while flushed < FLUSHES {
            let path = catalog.announce(FOLDER, &name, LONG).unwrap();
            announced.push(path.clone());
            let from = catalog.load().unwrap().1;
            let to = RecordId { index: from.index + 1, ..from };
            match catalog.commit(&Change { add: &[bare(&path)], read_through: Some((from, to)), ..Change::default() }) {
                Ok(()) => flushed += 1,
                Err(error) => assert_eq!(superseded(error), READ_POSITION),
            }
            let live = paths(&*catalog);
            let lease = Some(("merge", name.as_str()));
            if live.len() >= 3 && catalog.lease("merge", &name, LONG).unwrap() {
                let path = catalog.announce(FOLDER, &name, LONG).unwrap();
                let sum = SegmentRow { rows: rows(&*catalog, &live[..3]), ..bare(&path) };
                match catalog.commit(&Change { add: &[sum], remove: &live[..3], lease, ..Change::default() }) {
                    Ok(()) => merged += 1,
                    Err(error) => assert!(live.contains(&superseded(error))),
                }
                catalog.release("merge", &name).unwrap();
            }
        }
        (announced, merged)
    };
    let done: Vec<(Vec<String>, usize)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|nth| scope.spawn(move || work(nth))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let announced: Vec<&String> = done.iter().flat_map(|(announced, _)| announced).collect();
    assert_eq!(announced.iter().collect::<BTreeSet<_>>().len(), announced.len(), "no number twice");
    let catalog = open();
    let (live, position) = catalog.load().unwrap();
    assert_eq!(position.index as usize, THREADS * FLUSHES, "each flush moved the position");
    assert_eq!(live.iter().map(|row| row.rows).sum::<u64>() as usize, 700 * THREADS * FLUSHES, "each flush's events, once");
    assert!(done.iter().any(|(_, merged)| *merged > 0));
}

fn rows(catalog: &dyn Catalog, paths: &[String]) -> u64 {
    catalog.load().unwrap().0.iter().filter(|row| paths.contains(&row.path)).map(|row| row.rows).sum()
}

type Promise = fn(Open);

const PROMISES: [(&str, Promise); 6] = [
    ("what is committed is there", what_is_committed_is_there),
    ("a commit holds as a whole or not at all", a_commit_holds_as_a_whole_or_not_at_all),
    ("a file is named from its announcement to its end", a_file_is_named_from_its_announcement_to_its_end),
    ("leases pass on and guard commits", leases_pass_on_and_guard_commits),
    ("files are kept in one place", files_are_kept_in_one_place),
    ("many at once double and lose nothing", many_at_once_double_and_lose_nothing),
];

#[test]
fn sqlite_keeps_every_promise() {
    for (name, promise) in PROMISES {
        eprintln!("{name}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        promise(&|| Arc::new(SqliteCatalog::open(&path).unwrap()));
    }
}

#[test]
fn postgresql_keeps_every_promise() {
    let Some(server) = PostgreSql::start() else { return };
    for (nth, (name, promise)) in PROMISES.into_iter().enumerate() {
        eprintln!("{name}");
        assert!(server.sql("postgres", &format!("CREATE DATABASE lake{nth}")));
        promise(&|| Arc::new(PostgresCatalog::open(&server.server_as("reeve", &format!("lake{nth}"))).unwrap()));
    }
}

#[test]
fn a_catalog_of_an_earlier_format_is_taken_over() {
    let samples = [include_str!("../../../cases/lake/catalog-1.sql"), include_str!("../../../cases/lake/catalog-2.sql")];
    for sample in samples {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        rusqlite::Connection::open(&path).unwrap().execute_batch(sample).unwrap();
        let catalog = SqliteCatalog::open(&path).unwrap();
        let (segments, position) = catalog.load().unwrap();
        assert_eq!((segments.len(), segments[0].rows, segments[0].sha256), (1, 700, None));
        assert_eq!(position, id(7));
        assert!(catalog.lease("slot", "one", LONG).unwrap());
        catalog.keep_at("here").unwrap();
        let path = catalog.announce(FOLDER, "me", LONG).unwrap();
        catalog.commit(&Change { add: &[row(&path)], ..Change::default() }).unwrap();
        drop(catalog);
        assert_eq!(SqliteCatalog::open(&folder.path().join("catalog.sqlite")).unwrap().load().unwrap().0.len(), 2);
    }
}

#[test]
fn a_newer_catalog_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    SqliteCatalog::open(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(SqliteCatalog::open(&path), Err(Error::Format { found: 99, .. })));
    let Some(server) = PostgreSql::start() else { return };
    PostgresCatalog::open(&server.server()).unwrap();
    assert!(server.sql("lake", "UPDATE reeve_state SET format = 99"));
    assert!(matches!(PostgresCatalog::open(&server.server()), Err(Error::Format { found: 99, .. })));
}

#[test]
fn a_connection_cut_at_the_commit_is_told_and_both_outcomes_are_seen() {
    let Some(server) = PostgreSql::start() else { return };
    let cutter = server.cut();
    let catalog = PostgresCatalog::open(&cutter.server()).unwrap();
    for (cut, happens) in [(Cut::Before, false), (Cut::After, true)] {
        let path = catalog.announce(FOLDER, "me", LONG).unwrap();
        let from = catalog.load().unwrap().1;
        let add = [bare(&path)];
        let to = RecordId { index: from.index + 5, ..from };
        let change = Change { add: &add, read_through: Some((from, to)), ..Change::default() };
        cutter.arm(cut);
        let error = catalog.commit(&change).unwrap_err();
        assert!(matches!(error, Error::Server { .. }), "{error}");
        // The next call has another connection. Withdrawing waits for a commit the server is still at, or comes before it: then it is decided.
        catalog.withdraw(Withdrawn::Paths(std::slice::from_ref(&path))).unwrap();
        assert_eq!((paths(&catalog).contains(&path), catalog.load().unwrap().1 == to), (happens, happens), "{cut:?}");
        assert!(catalog.commit(&change).is_err(), "{cut:?}: it stays so");
        assert_eq!(departed(&catalog).contains(&path), !happens, "{cut:?}");
    }
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let Some(mut server) = PostgreSql::start() else { return };
    let catalog = PostgresCatalog::open(&server.server()).unwrap();
    let path = catalog.announce(FOLDER, "me", LONG).unwrap();
    catalog.commit(&Change { add: &[bare(&path)], ..Change::default() }).unwrap();
    server.crash();
    let begun = Instant::now();
    let error = catalog.load().unwrap_err();
    assert!(matches!(error, Error::Server { .. }) && begun.elapsed() < Duration::from_secs(10), "{error}");
    server.launch();
    assert_eq!(paths(&catalog), [path]);
}

#[test]
fn what_is_wrong_with_a_server_is_said() {
    let open = |url: &str| match PostgresCatalog::open(&Server { url: url.to_owned(), password_file: None }) {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error.to_string(),
    };
    let told = open("postgres://reeve@127.0.0.1:1/lake");
    assert!(
        told.contains("lake on 127.0.0.1:1") && told.contains("refused") && told.contains("check that the server runs"),
        "{told}"
    );
    let told = open("postgres://reeve:secret@127.0.0.1:1/lake");
    assert!(told.contains("catalog_password_file") && !told.contains("secret"), "{told}");
    assert!(open("no address").contains("postgres://ROLE@HOST/DATABASE"));
    let absent = Server { url: "postgres://reeve@127.0.0.1:1/lake".to_owned(), password_file: Some("/absent/file".into()) };
    assert!(PostgresCatalog::open(&absent).err().unwrap().to_string().contains("/absent/file"));
    let Some(server) = PostgreSql::start() else { return };
    let told = open(&server.server_as("reeve", "absent").url);
    assert!(told.contains("createdb"), "{told}");
    let told = open(&server.server_as("nobody", "lake").url);
    assert!(told.contains("nobody") && told.contains("pg_hba.conf"), "{told}");
    assert!(server.sql("lake", "CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM public"));
    let told = open(&server.server_as("reader", "lake").url);
    assert!(told.contains("grant this role"), "{told}");
}
