//! A real S3 server: what is stored is there once and whole, whichever request fails, and however it does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test stops where it is wrong")]

mod seaweedfs;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use reeve_objects::{Content, Credentials, Error, Objects, S3, Settings};
use seaweedfs::{Break, SeaweedFs};
use sha2::{Digest as _, Sha256};

fn bytes(seed: u8, count: usize) -> Vec<u8> {
    (0..count).map(|at| (at / 7 + at * usize::from(seed)) as u8).collect()
}

struct Made {
    _folder: tempfile::TempDir,
    path: PathBuf,
    content: Content,
}

fn made(seed: u8, count: usize) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = (folder.path().join("made"), bytes(seed, count));
    std::fs::write(&path, &bytes).unwrap();
    Made { _folder: folder, path, content: Content { bytes: count as u64, sha256: Sha256::digest(&bytes).into() } }
}

fn read(store: &S3, name: &str, made: &Made) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read");
    let read = store.get(name, &path, made.content.bytes, Some(&made.content.sha256));
    assert_eq!(path.exists(), read.is_ok(), "no file is left of what failed");
    read.map(|()| std::fs::read(&path).unwrap())
}

type Promise = fn(&mut SeaweedFs);

#[test]
fn a_real_store_keeps_every_promise() {
    let Some(mut server) = SeaweedFs::start() else { return };
    let promises: [(&str, Promise); 6] = [
        ("objects are stored once and read back whole", objects_are_stored_once_and_read_back_whole),
        ("many names are all listed", many_names_are_all_listed),
        ("a request that fails either way is carried out once", a_request_that_fails_either_way_is_carried_out_once),
        ("of many who store under one name one wins", of_many_who_store_under_one_name_one_wins),
        ("what is wrong with a store is said", what_is_wrong_with_a_store_is_said),
        ("a store that is killed is found again", a_store_that_is_killed_is_found_again),
    ];
    for (name, promise) in promises {
        let begun = Instant::now();
        promise(&mut server);
        eprintln!("{name}: {:?}", begun.elapsed());
    }
}

fn objects_are_stored_once_and_read_back_whole(server: &mut SeaweedFs) {
    let store = server.open("lake/");
    let (small, large, empty) = (made(1, 1000), made(2, 9 << 20), made(3, 0));
    for (name, made) in [("events/a b/ü.parquet", &small), ("events/large", &large), ("events/empty", &empty)] {
        store.put(name, &made.path, &made.content).unwrap();
        assert_eq!(store.size(name).unwrap(), Some(made.content.bytes), "{name}");
        assert_eq!(read(&store, name, made).unwrap(), std::fs::read(&made.path).unwrap(), "{name}");
        store.put(name, &made.path, &made.content).unwrap();
    }
    let taken = store.put("events/large", &small.path, &small.content).unwrap_err();
    assert!(matches!(taken, Error::Taken { .. }), "{taken}");
    assert!(matches!(store.put_bytes("events/empty", b"x"), Err(Error::Taken { .. })));
    assert_eq!(read(&store, "events/large", &large).unwrap().len(), 9 << 20, "nothing was overwritten");
    assert!(matches!(read(&store, "events/large", &small), Err(Error::Damaged { .. })), "of another size");
    let other = Made { content: Content { sha256: [0; 32], ..small.content }, ..made(1, 1000) };
    assert!(matches!(read(&store, "events/a b/ü.parquet", &other), Err(Error::Damaged { .. })), "with another digest");
    assert_eq!(store.list("events/").unwrap(), ["events/a b/ü.parquet", "events/empty", "events/large"]);
    assert_eq!(server.open("").list("lake/events/e").unwrap(), ["lake/events/empty"], "names begin with the prefix");
    store.remove("events/large").unwrap();
    store.remove("events/large").unwrap();
    assert_eq!(store.size("events/large").unwrap(), None);
    assert!(matches!(read(&store, "events/large", &large), Err(Error::Missing { .. })));
    assert!(matches!(store.get_bytes("events/large"), Err(Error::Missing { .. })));
    store.verify().unwrap();
    assert_eq!(store.list("").unwrap().len(), 2, "a check leaves nothing behind");
}

fn many_names_are_all_listed(server: &mut SeaweedFs) {
    let store = server.open("many/");
    let names: Vec<String> = (0..1030).map(|nth| format!("n{nth:04}")).collect();
    std::thread::scope(|scope| {
        for part in names.chunks(130) {
            let store = &store;
            scope.spawn(move || part.iter().for_each(|name| store.put_bytes(name, name.as_bytes()).unwrap()));
        }
    });
    assert_eq!(store.list("").unwrap(), names);
}

fn a_request_that_fails_either_way_is_carried_out_once(server: &mut SeaweedFs) {
    let breaker = server.breaker();
    let store = server.behind(&breaker, "");
    for (nth, how) in [Break::Before, Break::Middle, Break::After].into_iter().enumerate() {
        for size in [100, 3 << 20] {
            let (name, made) = (format!("{how:?}/{size}"), made(nth as u8, size));
            breaker.arm(how, 2);
            store.put(&name, &made.path, &made.content).unwrap_or_else(|error| panic!("{name}: {error}"));
            // A lost answer is asked after by storing again, which a store that has it refuses: one break is left then.
            assert_eq!(breaker.left(), 0, "{name}");
            assert_eq!(read(&store, &name, &made).unwrap(), std::fs::read(&made.path).unwrap());
        }
    }
    // What another has stored under the name meanwhile is not ours, whatever was reported.
    let (ours, theirs) = (made(7, 5000), made(8, 5000));
    server.open("").put("contested", &theirs.path, &theirs.content).unwrap();
    breaker.arm(Break::After, 1);
    assert!(matches!(store.put("contested", &ours.path, &ours.content), Err(Error::Taken { .. })));
    // More failures than tries.
    breaker.arm(Break::Before, 50);
    let begun = Instant::now();
    let error = store.put("never", &ours.path, &ours.content).unwrap_err();
    assert!(error.may_pass() && begun.elapsed() < Duration::from_secs(20), "{error}");
    breaker.arm(Break::Before, 0);
    assert_eq!(store.size("never").unwrap(), None);
}

fn of_many_who_store_under_one_name_one_wins(server: &mut SeaweedFs) {
    let store = server.open("");
    for round in 0..10 {
        let name = format!("race/{round}");
        let won: Vec<bool> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4_u8)
                .map(|nth| {
                    let (store, name) = (&store, &name);
                    scope.spawn(move || store.put_bytes(name, &[nth; 64]).is_ok())
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
        let winner = won.iter().position(|won| *won).unwrap() as u8;
        assert_eq!(store.get_bytes(&name).unwrap(), [winner; 64]);
    }
}

fn a_store_that_is_killed_is_found_again(server: &mut SeaweedFs) {
    let store = server.open("");
    let made = made(1, 100_000);
    store.put("one", &made.path, &made.content).unwrap();
    server.kill();
    let storing = {
        let (store, path, content) = (server.open(""), made.path.clone(), made.content);
        std::thread::spawn(move || {
            let mut tries = 0;
            while let Err(error) = store.put("two", &path, &content) {
                assert!(error.may_pass(), "{error}");
                tries += 1;
                assert!(tries < 20, "{error}");
            }
        })
    };
    std::thread::sleep(Duration::from_millis(300));
    server.launch();
    storing.join().unwrap();
    assert_eq!(read(&store, "two", &made).unwrap().len(), 100_000);
    assert_eq!(read(&store, "one", &made).unwrap().len(), 100_000, "what was acknowledged survives");
}

fn what_is_wrong_with_a_store_is_said(server: &mut SeaweedFs) {
    let plain = Settings {
        endpoint: "http://127.0.0.1:1".to_owned(),
        bucket: "reeve".to_owned(),
        prefix: String::new(),
        region: "us-east-1".to_owned(),
        path_style: true,
        ca_file: None,
    };
    let new = |settings: Settings| S3::new(&settings, Some(seaweedfs::credentials())).map(drop).unwrap_err().to_string();
    assert!(new(Settings { endpoint: "ftp://s3.example".to_owned(), ..plain.clone() }).contains("https:"));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let ca_file = Some(empty.path().to_owned());
    assert!(new(Settings { ca_file, ..plain.clone() }).contains("holds no certificate"));
    assert!(new(Settings { endpoint: "somewhere".to_owned(), ..plain.clone() }).contains("http://127.0.0.1:8333"));
    assert!(new(Settings { prefix: "/lake".to_owned(), ..plain.clone() }).contains("/lake"));
    let silent = S3::new(&plain, None).unwrap().verify().unwrap_err();
    assert!(silent.may_pass() && silent.to_string().contains("127.0.0.1:1"), "{silent}");
    let with = |settings: Settings, key: &str, secret: &str| {
        let verified = S3::new(&settings, Some(Credentials::new(key, secret, None))).unwrap().verify();
        verified.expect_err(&settings.bucket).to_string()
    };
    // SeaweedFS makes a bucket for whoever stores something in it: so read.
    let absent =
        S3::new(&Settings { bucket: "absent".to_owned(), ..server.settings("") }, Some(seaweedfs::credentials())).unwrap();
    let absent = absent.get_bytes("any").unwrap_err().to_string();
    assert!(absent.contains("make the bucket"), "{absent}");
    let wrong = with(server.settings(""), "reeve", "wrong");
    assert!(wrong.contains("SignatureDoesNotMatch") && wrong.contains("secret and region"), "{wrong}");
    let guest = with(server.settings(""), "guest", "guest");
    assert!(guest.contains("AccessDenied") && guest.contains("PutObject"), "{guest}");
}
