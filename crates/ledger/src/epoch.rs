//! Key epochs: the statement that begins one, the rules a chain of them keeps, and the keys on disk. Format: `docs/spec/log.md`.
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use reeve_record::Hash;
use zeroize::Zeroizing;

use crate::{
    Clock, Disk, Error, Rng,
    disk::erase,
    disk::{read_all, temporary, write_durably},
    env::random,
    note::{Checkpoint, SignerKey, VerifierKey},
    recover::note_public_key,
    text,
};

/// The last checkpoint of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal {
    /// Entries in the main log.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// The checkpoint's time.
    pub at: Timestamp,
}

/// The entry of the main log that begins a key epoch; format `docs/spec/log.md`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochStatement {
    /// Name of the log.
    pub origin: String,
    /// Number of the epoch, from 0 without gaps.
    pub epoch: u64,
    /// From when on its key signs.
    pub begins: Timestamp,
    /// Until when, exclusive.
    pub ends: Timestamp,
    /// Its Ed25519 public key.
    pub key: [u8; 32],
    /// The last checkpoint of the epoch before; `None` for epoch 0.
    pub seal: Option<Seal>,
    /// Signature over all of the above by the key of the epoch before; `None` for epoch 0, and where a fork lost that key.
    pub signature: Option<[u8; 64]>,
}

impl EpochStatement {
    /// The text that is the entry of the main log.
    pub fn to_text(&self) -> String {
        let signature = self.signature.map_or("none".into(), |signature| text::base64(&signature));
        format!("{}signature {signature}\n", self.signed_text())
    }

    /// What the key of the epoch before signs.
    fn signed_text(&self) -> String {
        let seal =
            self.seal.map_or("none".into(), |seal| format!("{} {} {}", seal.size, text::base64(&seal.root), text::time(seal.at)));
        format!(
            "{HEAD}\norigin {}\nepoch {}\nbegins {}\nends {}\nkey {}\nseal {seal}\n",
            self.origin,
            self.epoch,
            text::time(self.begins),
            text::time(self.ends),
            text::base64(&self.key),
        )
    }

    /// Reads exactly what [`EpochStatement::to_text`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEAD {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let statement = Self {
            origin: field("origin")?.into(),
            epoch: text::number(field("epoch")?)?,
            begins: text::parse_time(field("begins")?)?,
            ends: text::parse_time(field("ends")?)?,
            key: text::hash(field("key")?)?,
            seal: optional(field("seal")?, parse_seal)?,
            signature: optional(field("signature")?, |text| text::bytes(text)?.try_into().ok())?,
        };
        lines.next().is_none().then_some(statement)
    }

    /// The key of this epoch, under its name in signature lines. The reason follows "the key …".
    pub(crate) fn verifier(&self) -> Result<VerifierKey, String> {
        VerifierKey::from_bytes(&key_name(&self.origin, self.epoch), &self.key)
    }

    /// Whether a checkpoint of this time belongs to this epoch.
    pub fn covers(&self, at: Timestamp) -> bool {
        self.begins <= at && at < self.ends
    }

    /// Rule E6: `note`, which holds `checkpoint`, is signed by this epoch's key, and its time lies in this epoch. The reason follows "the checkpoint …".
    pub(crate) fn check_checkpoint(&self, note: &str, checkpoint: &Checkpoint) -> Result<(), String> {
        self.verifier()?.open(note)?;
        if self.covers(checkpoint.at) {
            Ok(())
        } else {
            Err(format!("has the time {}, outside of its key epoch {}", text::time(checkpoint.at), self.epoch))
        }
    }
}

fn parse_seal(text: &str) -> Option<Seal> {
    let mut parts = text.splitn(3, ' ');
    Some(Seal { size: text::number(parts.next()?)?, root: text::hash(parts.next()?)?, at: text::parse_time(parts.next()?)? })
}

/// `none` or something that parses.
fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "none" { Some(None) } else { parse(text).map(Some) }
}

/// Name of an epoch's key in signature lines.
pub(crate) fn key_name(origin: &str, epoch: u64) -> String {
    format!("{origin}/epoch/{epoch}")
}

/// Follows the epochs of a log from its first entry on and holds them to the rules E1 to E5.
#[derive(Default)]
pub(crate) struct Chain {
    last: Option<EpochStatement>,
}

impl Chain {
    /// The epoch that goes on.
    pub(crate) fn last(&self) -> Option<&EpochStatement> {
        self.last.as_ref()
    }

    /// Takes the next epoch. `before` is size and root of the log before this entry, or before the fork that precedes it. The reason follows "the epoch …".
    pub(crate) fn follow(&mut self, next: EpochStatement, before: (u64, Hash), forked: bool) -> Result<(), String> {
        let checked = self.check(&next, before, forked);
        // Also a faulty one goes on: what follows is judged by it, so that one fault is told once.
        self.last = Some(next);
        checked
    }

    fn check(&self, next: &EpochStatement, before: (u64, Hash), forked: bool) -> Result<(), String> {
        let length = next.ends.duration_since(next.begins);
        if length.is_zero() || length.is_negative() || length.unsigned_abs() > LONGEST {
            return Err("does not end within a day after it begins".into());
        }
        next.verifier().map_err(|reason| format!("has a key that {reason}"))?;
        let Some(last) = &self.last else {
            return match next {
                EpochStatement { epoch: 0, seal: None, signature: None, .. } => Ok(()),
                _ => Err("is the log's first, and not number 0".into()),
            };
        };
        if next.epoch != last.epoch.wrapping_add(1) {
            return Err(format!("has number {} after {}", next.epoch, last.epoch));
        }
        if next.origin != last.origin {
            return Err("is that of another log".into());
        }
        let seal = next.seal.ok_or("does not seal the one before")?;
        if (seal.size, seal.root) != before {
            return Err("seals another tree than the one before it".into());
        }
        if !last.covers(seal.at) || seal.at > next.begins {
            return Err(format!("seals a checkpoint of {}, outside of the epoch before it", text::time(seal.at)));
        }
        match &next.signature {
            Some(signature) if last.verifier()?.signed(next.signed_text().as_bytes(), signature) => Ok(()),
            Some(_) => Err("is not signed by the key of the one before".into()),
            None if forked => Ok(()),
            None => Err("is not signed".into()),
        }
    }
}

/// A key made for an epoch that has not begun.
#[derive(Clone)]
pub(crate) struct NextEpoch {
    pub(crate) statement: EpochStatement,
    pub(crate) signer: SignerKey,
}

/// The epoch that goes on, and the folder of its key.
pub(crate) struct Epochs {
    folder: PathBuf,
    origin: String,
    /// `None`: none is begun where there is none.
    length: Option<Duration>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    current: Option<Current>,
    /// Key files of epochs that do not go on and that could not be removed from disk yet.
    undestroyed: Vec<String>,
}

struct Current {
    statement: EpochStatement,
    /// Why it cannot sign, if it cannot.
    signer: Result<SignerKey, Error>,
    /// By [`Clock::elapsed`].
    since: Duration,
}

impl Epochs {
    pub(crate) fn new(folder: PathBuf, origin: &str, length: Option<Duration>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let length = length.map(|length| length.clamp(SHORTEST, LONGEST));
        Self { folder, origin: origin.into(), length, clock, rng, current: None, undestroyed: Vec::new() }
    }

    /// Takes up the epoch that the log names last, and destroys all other keys there are: those before have ended, those after never began.
    pub(crate) fn take_up(&mut self, disk: &dyn Disk, last: Option<&EpochStatement>) -> Result<(), Error> {
        let current = last.map(|statement| statement.epoch);
        for name in disk.list(&self.folder).map_err(|error| Error::io("list", &self.folder, error))? {
            let number = name.strip_prefix("epoch-").and_then(|rest| rest.split('.').next()).and_then(|n| n.parse().ok());
            // A temporary file may hold a key as well as the finished one.
            if number.is_some() && (number != current || !name.ends_with(".key")) {
                self.undestroyed.push(name);
            }
        }
        if let Some(statement) = last {
            let signer = self
                .load(disk, &self.key_path(statement.epoch), statement)
                .or_else(|missing| self.adopt(disk, statement, missing));
            self.current = Some(Current { statement: statement.clone(), signer, since: self.clock.elapsed() });
        }
        self.destroy_ended(disk);
        Ok(())
    }

    /// A device that forgot a rename kept the key under its temporary name: it gets its own.
    fn adopt(&self, disk: &dyn Disk, statement: &EpochStatement, missing: Error) -> Result<SignerKey, Error> {
        let path = self.key_path(statement.epoch);
        let temporary = temporary(&path);
        let Ok(signer) = self.load(disk, &temporary, statement) else { return Err(missing) };
        let renamed = disk.rename(&temporary, &path).and_then(|()| disk.sync_dir(&self.folder));
        renamed.map_err(|error| Error::io("rename", &temporary, error))?;
        tracing::warn!(path = %path.display(), "the key of the epoch that goes on was found under its temporary name");
        Ok(signer)
    }

    fn load(&self, disk: &dyn Disk, path: &Path, statement: &EpochStatement) -> Result<SignerKey, Error> {
        let bad = |reason: &str| Error::Key { place: path.display().to_string(), reason: reason.into() };
        // A device that stumbles once must not leave the log without its key until it is opened again.
        let read = || read_all(disk, path, 1 << 16);
        let stumbled = |error: &io::Error| error.kind() != io::ErrorKind::NotFound;
        let mut bytes = read();
        for _ in 0..RETRIES {
            if bytes.as_ref().is_err_and(stumbled) {
                bytes = read();
            }
        }
        let bytes = match bytes {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(bad(GONE)),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        let whole = |block: &[u8]| {
            let end = block.iter().position(|byte| *byte == 0).unwrap_or(block.len());
            let text = std::str::from_utf8(&block[..end]).ok()?;
            let signer = SignerKey::parse(text, &path.display().to_string()).ok()?;
            (signer.verifier() == &statement.verifier().ok()?).then_some(signer)
        };
        bytes.chunks(KEY_BLOCK).find_map(whole).ok_or_else(|| bad(GONE))
    }

    /// The statement of the epoch that goes on.
    pub(crate) fn current(&self) -> Option<&EpochStatement> {
        self.current.as_ref().map(|current| &current.statement)
    }

    /// The key of the epoch that goes on; `None` if none has begun yet.
    pub(crate) fn signer(&self) -> Option<Result<&SignerKey, Error>> {
        self.current.as_ref().map(|current| current.signer.as_ref().map_err(Clone::clone))
    }

    /// Whether a checkpoint of this time needs a new epoch. Both clocks count: one that was set back must not keep a key alive.
    pub(crate) fn is_over(&self, at: Timestamp) -> bool {
        match &self.current {
            Some(current) => !current.statement.covers(at) || self.age(current) >= self.length.unwrap_or(HOUR),
            None => self.length.is_some(),
        }
    }

    fn age(&self, current: &Current) -> Duration {
        self.clock.elapsed().saturating_sub(current.since)
    }

    /// Makes the next epoch, which begins at `begins` and closes the present one with its last checkpoint. Its key is durable on return.
    ///
    /// With `forked`, a key of the present epoch that is gone is done without; otherwise that is an error.
    pub(crate) fn next(
        &self,
        disk: &dyn Disk,
        begins: Timestamp,
        last: Option<&Checkpoint>,
        forked: bool,
    ) -> Result<NextEpoch, Error> {
        let epoch = self.current().map_or(0, |current| current.epoch + 1);
        let mut seed = Zeroizing::new([0; 32]);
        random(&*self.rng, &mut *seed)?;
        let signer = SignerKey::new(&key_name(&self.origin, epoch), &seed)?;
        let ends = begins.saturating_add(jiff::SignedDuration::try_from(self.length.unwrap_or(HOUR)).unwrap_or_default());
        let mut statement = EpochStatement {
            origin: self.origin.clone(),
            epoch,
            begins,
            ends: ends.map_or(begins, text::floor),
            key: *signer.verifier().bytes(),
            seal: None,
            signature: None,
        };
        if let (Some(current), Some(last)) = (&self.current, last) {
            statement.seal = Some(Seal { size: last.size, root: last.root, at: last.at });
            statement.signature = match &current.signer {
                Ok(signer) => Some(signer.sign(statement.signed_text().as_bytes())?),
                Err(_) if forked => None,
                Err(gone) => return Err(gone.clone()),
            };
        }
        self.store(disk, epoch, &signer)?;
        if epoch == 0 {
            // Before anything names it: a crash in between leaves a root nobody descends from, and the next one takes its place.
            note_public_key(disk, &self.folder.join("root.vkey"), signer.verifier())?;
        }
        Ok(NextEpoch { statement, signer })
    }

    fn store(&self, disk: &dyn Disk, epoch: u64, signer: &SignerKey) -> Result<(), Error> {
        let path = self.key_path(epoch);
        // Twice, so that one damaged sector does not stop the log.
        let mut content = Zeroizing::new(vec![0; 2 * KEY_BLOCK]);
        let text = signer.to_text().unwrap_or_default();
        for block in content.chunks_mut(KEY_BLOCK) {
            block[..text.len()].copy_from_slice(text.as_bytes());
        }
        write_durably(disk, &path, &content, true).map_err(|error| Error::io("write", &path, error))
    }

    /// The checkpoint over `next` is durable: its key signs from now on, and the one before is destroyed.
    pub(crate) fn begin(&mut self, disk: &dyn Disk, next: NextEpoch) {
        let current = Current { statement: next.statement, signer: Ok(next.signer), since: self.clock.elapsed() };
        if let Some(ended) = self.current.replace(current) {
            self.undestroyed.push(key_file(ended.statement.epoch));
            // Dropped here, which zeroes the key in memory.
        }
        self.destroy_ended(disk);
    }

    /// Destroys keys whose epoch is over. What fails is tried again with the next checkpoint: the log itself is in order.
    pub(crate) fn destroy_ended(&mut self, disk: &dyn Disk) {
        // A key that was made again under a name that could not be cleared before is not to be destroyed.
        let present = self.current().map(|current| key_file(current.epoch));
        let folder = &self.folder;
        self.undestroyed.retain(|name| {
            if Some(name) == present.as_ref() {
                return false;
            }
            let path = folder.join(name);
            let erased = erase(disk, &path);
            if let Err(error) = &erased {
                let path = path.display();
                tracing::error!(%path, %error, "the key of an ended epoch could not be destroyed and will be tried again");
            }
            erased.is_err()
        });
    }

    /// Key files of ended epochs that are still on disk.
    pub(crate) fn undestroyed(&self) -> &[String] {
        &self.undestroyed
    }

    fn key_path(&self, epoch: u64) -> PathBuf {
        self.folder.join(key_file(epoch))
    }
}

fn key_file(epoch: u64) -> String {
    format!("epoch-{epoch:08}.key")
}

pub(crate) const HEAD: &str = "reeve-epoch/v1";
const GONE: &str =
    "the key of the epoch that goes on is gone or damaged: restore the file, or hold the ceremony `reeve ledger fork`";
/// An epoch lasts no longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);
const SHORTEST: Duration = Duration::from_secs(1);
const KEY_BLOCK: usize = 4096;
/// How often a key that cannot be read is tried again.
const RETRIES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// An epoch, with size and root of the log before it.
    type Placed = (EpochStatement, (u64, Hash));

    /// Epochs 0 to 2 over trees of sizes 0, 4 and 9.
    fn epochs() -> Vec<Placed> {
        let keys: Vec<_> =
            (0..3).map(|n| SignerKey::new(&key_name("reeve.example/record", n), &[n as u8 + 16; 32]).unwrap()).collect();
        let mut all: Vec<Placed> = Vec::new();
        for (n, (hour, before)) in (0..).zip([("09", (0, [0; 32])), ("10", (4, [4; 32])), ("11", (9, [9; 32]))]) {
            let seal =
                (n > 0).then(|| Seal { size: before.0, root: before.1, at: time(&format!("2026-01-05T{:02}:59:30Z", 8 + n)) });
            let mut statement = EpochStatement {
                origin: "reeve.example/record".into(),
                epoch: n,
                begins: time(&format!("2026-01-05T{hour}:00:00Z")),
                ends: time(&format!("2026-01-05T{:02}:00:00Z", 10 + n)),
                key: *keys[n as usize].verifier().bytes(),
                seal,
                signature: None,
            };
            if n > 0 {
                statement.signature = Some(keys[n as usize - 1].sign(statement.signed_text().as_bytes()).unwrap());
            }
            all.push((statement, before));
        }
        all
    }

    fn follow(epochs: &[Placed]) -> Result<(), String> {
        let mut chain = Chain::default();
        epochs.iter().try_for_each(|(epoch, before)| chain.follow(epoch.clone(), *before, false))
    }

    #[test]
    fn a_statement_has_one_text() {
        for (statement, _) in epochs() {
            let text = statement.to_text();
            assert_eq!(EpochStatement::parse(&text).as_ref(), Some(&statement));
            for broken in
                [text.replace("epoch ", "epoch 0"), format!("{text}\n"), text.trim_end().into(), text.replace("Z\n", "+00:00\n")]
            {
                assert_eq!(EpochStatement::parse(&broken), None, "{broken}");
            }
        }
    }

    #[test]
    fn a_chain_in_order_holds_and_each_broken_rule_is_named() {
        assert_eq!(follow(&epochs()), Ok(()));
        let broken = |change: &dyn Fn(&mut Vec<Placed>)| {
            let mut all = epochs();
            change(&mut all);
            follow(&all).unwrap_err()
        };
        assert!(broken(&|all| _ = all.remove(1)).contains("number 2 after 0"));
        assert!(broken(&|all| _ = all.remove(0)).contains("first"));
        let twice = broken(&|all| {
            let again = all[1].clone();
            all.insert(2, again);
        });
        assert!(twice.contains("number 1 after 1"), "{twice}");
        assert!(broken(&|all| all[2].1 = (8, [9; 32])).contains("another tree"));
        assert!(broken(&|all| all[2].1.1[3] ^= 1).contains("another tree"));
        assert!(broken(&|all| all[1].0.ends = all[1].0.begins).contains("within a day"));
        assert!(broken(&|all| all[1].0.ends = time("2026-01-07T09:00:00Z")).contains("within a day"));
        assert!(broken(&|all| all[1].0.key[0] ^= 1).contains("not signed by"), "a swapped key");
        assert!(broken(&|all| all[2].0.signature = None).contains("is not signed"));
        assert!(broken(&|all| all[2].0.seal = None).contains("does not seal"));
        for outside in ["2026-01-05T11:00:00Z", "2026-01-05T09:59:59Z"] {
            let said = broken(&|all| all[2].0.seal = all[2].0.seal.map(|seal| Seal { at: time(outside), ..seal }));
            assert!(said.contains("outside of the epoch"), "{said}");
        }
        // A lost key may be done without after a fork, and only there.
        let mut all = epochs();
        all[2].0.signature = None;
        let mut chain = Chain::default();
        let outcomes: Vec<_> =
            all.into_iter().enumerate().map(|(n, (epoch, before))| chain.follow(epoch, before, n == 2)).collect();
        assert_eq!(outcomes, [Ok(()), Ok(()), Ok(())]);
    }

    /// The example of `docs/spec/log.md`, recomputed line by line.
    #[test]
    fn the_worked_example_is_what_this_code_writes() {
        let spec = include_str!("../../../docs/spec/log.md");
        let example = spec.split_once("## Worked example").unwrap().1;
        let has = |text: &str| {
            let indented: String =
                text.split_inclusive('\n').map(|line| if line == "\n" { line.into() } else { format!("    {line}") }).collect();
            assert!(example.contains(indented.trim_end()), "the specification does not have\n{text}");
        };
        let origin = "reeve.example/record";
        let stable = SignerKey::new(origin, &[7; 32]).unwrap();
        let keys = [0x10, 0x11].map(|seed| SignerKey::new(&key_name(origin, seed - 0x10), &[seed as u8; 32]).unwrap());
        has(&stable.verifier().to_string());
        has(&keys[0].verifier().to_string());
        let begin = |n: usize, begins: &str, ends: &str| EpochStatement {
            origin: origin.into(),
            epoch: n as u64,
            begins: time(begins),
            ends: time(ends),
            key: *keys[n].verifier().bytes(),
            seal: None,
            signature: None,
        };
        let first = begin(0, "2026-01-05T09:00:00Z", "2026-01-05T10:00:00Z");
        has(&first.to_text());
        let leaf = |epoch: &EpochStatement| reeve_record::leaf_hash(epoch.to_text().as_bytes());
        let mut second = begin(1, "2026-01-05T10:00:00Z", "2026-01-05T11:00:00Z");
        second.seal = Some(Seal { size: 1, root: leaf(&first), at: time("2026-01-05T09:59:30Z") });
        second.signature = Some(keys[0].sign(second.signed_text().as_bytes()).unwrap());
        has(&second.to_text());
        let root = crate::tree::root(&[leaf(&first), leaf(&second)]);
        let checkpoint = Checkpoint { origin: origin.into(), size: 2, root, at: second.begins };
        let note = crate::note::sign(&checkpoint.to_text(), &[&stable, &keys[1]]).unwrap();
        has(&note);
        second.check_checkpoint(&note, &checkpoint).unwrap();

        // The witness's line and the policy are read back: they were made by other code.
        let block = |from: &str| -> String {
            let rest = example.split_once(from).unwrap().1;
            let lines = rest
                .split('\n')
                .skip_while(|line| !line.starts_with("    "))
                .take_while(|line| line.is_empty() || line.starts_with("    "));
            lines.map(|line| format!("{}\n", line.trim_start())).collect::<String>().trim_end().to_owned() + "\n"
        };
        let cosigned = block("cosigned (`log/cosigned`)");
        assert!(cosigned.starts_with(&note));
        let policy: crate::Policy = block("A policy it satisfies").parse().unwrap();
        assert_eq!(policy.quorum_of(&cosigned), Ok(vec!["w1".to_owned()]));
        assert!(policy.quorum_of(&note).is_err());
        assert_eq!(policy.witnesses()[0].key.cosigned(&cosigned), Ok(Some(1_767_607_201)));
        assert_eq!(policy.log(origin), Some(stable.verifier()));
    }
}
