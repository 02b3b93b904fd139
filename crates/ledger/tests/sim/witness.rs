//! A witness in memory that decides as C2SP tlog-witness and `docs/spec/log.md` say, and the time-stamping authority beside it.
use std::sync::{Arc, Mutex, MutexGuard};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use reeve_ledger::{Answer, Clock, VerifierKey, tree};
use reeve_record::Hash;
use sha2::{Digest, Sha256};

use crate::{
    net::{Message, Serve},
    random::SimClock,
    tsa,
};

/// A tree of the log: size and root.
pub type Tree = (u64, Hash);

pub struct SimWitness {
    name: String,
    key: SigningKey,
    clock: Arc<SimClock>,
    /// The one log it knows.
    log: Mutex<Option<VerifierKey>>,
    memory: Mutex<Memory>,
}

/// What it has on disk before it answers.
#[derive(Default)]
struct Memory {
    /// The last tree it cosigned; an empty one at first.
    last: Option<Tree>,
    /// Each tree it ever cosigned.
    signed: Vec<Tree>,
    /// Of these, the ones that no operator took back.
    standing: Vec<Tree>,
}

/// An `add-checkpoint` request, read.
struct Shown<'a> {
    old: u64,
    proof: Vec<Hash>,
    note: &'a str,
    tree: Tree,
}

impl SimWitness {
    pub fn new(place: u8, clock: Arc<SimClock>) -> Self {
        let key = SigningKey::from_bytes(&[0x60 + place; 32]);
        Self { name: format!("w{place}.example"), key, clock, log: Mutex::default(), memory: Mutex::default() }
    }

    /// Lets it watch a log.
    pub fn watch(&self, log: VerifierKey) {
        *self.log.lock().unwrap() = Some(log);
    }

    /// The trees it ever cosigned, and those of them that nobody took back.
    pub fn signed(&self) -> (Vec<Tree>, Vec<Tree>) {
        let memory = self.memory();
        (memory.signed.clone(), memory.standing.clone())
    }

    /// Its operator, convinced by two people, takes its record back where it is not of the log as it now is.
    pub fn roll_back(&self, to: Tree, is_of_log: &dyn Fn(&Tree) -> bool) {
        let mut memory = self.memory();
        if memory.last.is_some_and(|last| !is_of_log(&last)) {
            memory.last = Some(to);
            memory.standing.retain(is_of_log);
        }
    }

    /// Its verifier key.
    pub fn vkey(&self) -> String {
        let key = STANDARD.encode([&[COSIGNATURE], &self.key.verifying_key().as_bytes()[..]].concat());
        format!("{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id()))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn id(&self) -> [u8; 4] {
        let public = self.key.verifying_key();
        let hash: Hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', COSIGNATURE])
            .chain_update(public.as_bytes())
            .finalize()
            .into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    fn cosign(&self, note: &str) -> Answer {
        let text = &note[..=note.find("\n\n").unwrap_or_default()];
        let now = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let signature = self.key.sign(format!("cosignature/v1\ntime {now}\n{text}").as_bytes()).to_bytes();
        let blob = [&self.id()[..], &now.to_be_bytes(), &signature].concat();
        answer(200, format!("\u{2014} {} {}\n", self.name, STANDARD.encode(blob)))
    }

    fn add_checkpoint(&self, body: &[u8]) -> Result<Answer, Answer> {
        let shown = Shown::read(body).ok_or_else(|| answer(400, "it cannot be read\n".into()))?;
        let log = self.log.lock().unwrap().clone().ok_or_else(|| answer(404, "unknown log\n".into()))?;
        log.open(shown.note).map_err(|reason| answer(403, format!("the checkpoint {reason}\n")))?;
        if shown.old > shown.tree.0 {
            return Err(answer(400, "the old size is above that of the checkpoint\n".into()));
        }
        let mut memory = self.memory();
        let (size, root) = memory.last.unwrap_or_else(|| (0, tree::root(&[])));
        if shown.old != size {
            return Err(Answer { content_type: "text/x.tlog.size".into(), ..answer(409, format!("{size}\n")) });
        }
        if !shown.continues((size, root)) {
            return Err(answer(422, "the proof does not hold\n".into()));
        }
        // Kept before it answers: what it signed it will not forget.
        memory.last = Some(shown.tree);
        memory.signed.push(shown.tree);
        memory.standing.push(shown.tree);
        Ok(self.cosign(shown.note))
    }
}

impl Shown<'_> {
    fn read(body: &[u8]) -> Option<Shown<'_>> {
        let (head, note) = std::str::from_utf8(body).ok()?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
        let hash = |text: &str| Hash::try_from(STANDARD.decode(text).ok()?).ok();
        let proof: Vec<Hash> = lines.map(hash).collect::<Option<_>>()?;
        let mut fields = note.split('\n').skip(1);
        let tree = (fields.next()?.parse().ok()?, hash(fields.next()?)?);
        (proof.len() <= 63).then_some(Shown { old, proof, note, tree })
    }

    fn continues(&self, (size, root): Tree) -> bool {
        match (size, self.tree) {
            (_, (0, root)) if root != tree::root(&[]) => false,
            (0, _) => self.proof.is_empty(),
            (size, (new, new_root)) if size == new => self.proof.is_empty() && new_root == root,
            (size, (new, new_root)) => tree::is_consistent(size, &root, new, &new_root, &self.proof),
        }
    }
}

impl Serve for SimWitness {
    fn serve(&self, message: &Message) -> Option<Answer> {
        Some(self.add_checkpoint(&message.body).unwrap_or_else(|refusal| refusal))
    }

    fn pretend(&self, message: &Message) -> Option<Answer> {
        Some(self.cosign(Shown::read(&message.body)?.note))
    }
}

/// A time-stamping authority whose stamps nobody signed, which nobody looks at here.
pub struct SimAuthority;

impl Serve for SimAuthority {
    fn serve(&self, message: &Message) -> Option<Answer> {
        Some(Answer { status: 200, content_type: String::new(), body: tsa::stamp(&message.body) })
    }

    fn pretend(&self, message: &Message) -> Option<Answer> {
        self.serve(message)
    }
}

fn answer(status: u16, body: String) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8".into(), body: body.into() }
}

/// Timestamped Ed25519 cosignature.
const COSIGNATURE: u8 = 4;
