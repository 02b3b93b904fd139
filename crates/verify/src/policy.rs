//! Who must have cosigned: a C2SP tlog-policy, as `docs/spec/log.md`, *Policy*, has it.
use std::collections::HashMap;

use crate::{
    VerifierKey,
    note::{COSIGNATURE, ED25519},
    text::{self, need},
};

/// A trust policy; made only by [`Policy::parse`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    quorum: Quorum,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Quorum {
    /// By place.
    Witness(usize),
    AtLeast(usize, Vec<Quorum>),
}

impl Quorum {
    fn is_met(&self, cosigned: &[bool]) -> bool {
        match self {
            Self::Witness(place) => cosigned[*place],
            Self::AtLeast(count, members) => members.iter().filter(|member| member.is_met(cosigned)).count() >= *count,
        }
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Says which line breaks which rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::default();
        for (number, line) in (1..).zip(text.split('\n').take_while(|_| text.len() <= 65_536)) {
            reader.line(line).ok_or_else(|| format!("line {number} breaks a rule of docs/spec/log.md, *Policy*"))?;
        }
        let quorum = reader.quorum.ok_or("it has no `quorum` line, or more than 65,536 bytes")?;
        let Reader { logs, witnesses, names, .. } = reader;
        let groups = names.len() - witnesses.len();
        need(logs.len() <= 32 && witnesses.len() <= 64 && groups <= 64, "it names more logs, witnesses or groups than it may")?;
        Ok(Self { logs, witnesses, quorum })
    }

    /// The key it names for a log.
    pub fn log(&self, origin: &str) -> Option<&VerifierKey> {
        self.logs.iter().find(|key| key.name() == origin)
    }

    /// Whether a note has the cosignatures it takes. The reason follows "it".
    pub(crate) fn check(&self, note: &str) -> Result<(), String> {
        let cosigned: Vec<bool> = self.witnesses.iter().map(|witness| witness.cosigned(note)).collect::<Result<_, _>>()?;
        let by = cosigned.iter().filter(|cosigned| **cosigned).count();
        need(self.quorum.is_met(&cosigned), format!("has {by} cosignatures, which are no quorum of the policy"))
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    /// What a name stands for, and whether it is a group's member already.
    names: HashMap<String, (Quorum, bool)>,
    quorum: Option<Quorum>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Option<()> {
        if line.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return None;
        }
        let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items[..] {
            [] => Some(()),
            [first, ..] if first.starts_with('#') => Some(()),
            ["log", key] | ["log", key, _] => {
                self.logs.push(self.new_key(ED25519, key)?);
                Some(())
            }
            ["witness", name, key] | ["witness", name, key, _] => {
                self.witnesses.push(self.new_key(COSIGNATURE, key)?);
                self.define(name, Quorum::Witness(self.witnesses.len() - 1))
            }
            ["group", name, count, ref members @ ..] => self.group(name, count, members),
            ["quorum", name] => {
                let none = || Some((Quorum::AtLeast(0, Vec::new()), false)).filter(|_| name == "none");
                let (quorum, _) = self.names.get(name).cloned().or_else(none)?;
                self.quorum.replace(quorum).is_none().then_some(())
            }
            _ => None,
        }
    }

    /// The same key under two names would count twice.
    fn new_key(&self, algorithm: u8, text: &str) -> Option<VerifierKey> {
        let key = VerifierKey::parse_as(algorithm, text).ok()?;
        let known = self.logs.iter().chain(&self.witnesses).any(|known| known.key == key.key);
        (!known).then_some(key)
    }

    fn group(&mut self, name: &str, count: &str, members: &[&str]) -> Option<()> {
        let count = match count {
            "all" => members.len(),
            "any" => 1,
            number => text::number(number)?,
        };
        let mut taken = Vec::new();
        for member in members {
            let (what, is_member) = self.names.get_mut(*member)?;
            taken.push(what.clone());
            (!std::mem::replace(is_member, true)).then_some(())?;
        }
        (1..=members.len()).contains(&count).then_some(())?;
        self.define(name, Quorum::AtLeast(count, taken))
    }

    fn define(&mut self, name: &str, what: Quorum) -> Option<()> {
        (name != "none" && self.names.insert(name.into(), (what, false)).is_none()).then_some(())
    }
}
