//! The trust policy: which logs, which witnesses, and how many of them make a quorum (C2SP tlog-policy).
use std::{collections::HashMap, str::FromStr};

use reeve_record::Hash;

use crate::{
    Error,
    note::{VerifierKey, WitnessKey},
};

/// A witness of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyWitness {
    /// Its name in the policy.
    pub name: String,
    /// Its key.
    pub key: WitnessKey,
    /// Where it takes checkpoints (submission prefix), if the policy says.
    pub url: Option<String>,
}

/// A trust policy. Read from its text with [`str::parse`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    text: String,
    logs: Vec<VerifierKey>,
    witnesses: Vec<PolicyWitness>,
    quorum: Quorum,
}

/// Who must have cosigned.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Quorum {
    None,
    /// A witness, by place.
    Witness(usize),
    /// At least `count` of the members.
    Group {
        count: usize,
        members: Vec<Quorum>,
    },
}

impl Policy {
    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its witnesses, in order.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The key it names for the log `origin`, if it names that log.
    pub fn log(&self, origin: &str) -> Option<&VerifierKey> {
        self.logs.iter().find(|key| key.name() == origin)
    }

    /// Whether it is about the log `origin`: it lists that one, or lists none.
    pub fn is_about(&self, origin: &str) -> bool {
        self.logs.is_empty() || self.log(origin).is_some()
    }

    /// Whether `key` may be trusted under this policy: it is listed, or no log is.
    pub(crate) fn accepts(&self, key: &VerifierKey) -> bool {
        self.logs.is_empty() || self.logs.contains(key)
    }

    /// The names of the witnesses that cosigned `note`, if they are a quorum.
    ///
    /// # Errors
    /// What is missing or wrong, as words that follow "the checkpoint …".
    pub fn quorum_of(&self, note: &str) -> Result<Vec<String>, String> {
        let mut cosigned = vec![false; self.witnesses.len()];
        for (cosigned, witness) in cosigned.iter_mut().zip(&self.witnesses) {
            *cosigned = witness.key.cosigned(note)?.is_some();
        }
        let names =
            self.witnesses.iter().zip(&cosigned).filter(|(_, cosigned)| **cosigned).map(|(witness, _)| witness.name.clone());
        let names: Vec<String> = names.collect();
        if self.is_met(&cosigned) {
            return Ok(names);
        }
        let by = if names.is_empty() { "nobody".into() } else { names.join(", ") };
        Err(format!("is cosigned by {by}, which is no quorum of the policy"))
    }

    /// Whether those witnesses that cosigned, by place, are a quorum.
    pub(crate) fn is_met(&self, cosigned: &[bool]) -> bool {
        is_met(&self.quorum, cosigned)
    }
}

fn is_met(quorum: &Quorum, cosigned: &[bool]) -> bool {
    match quorum {
        Quorum::None => true,
        Quorum::Witness(place) => cosigned.get(*place).copied().unwrap_or(false),
        Quorum::Group { count, members } => members.iter().filter(|member| is_met(member, cosigned)).count() >= *count,
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |line: usize, reason: String| Error::Policy { place: format!("line {line}"), reason };
        if text.len() > TEXT_MAX {
            return Err(bad(0, format!("it has {} bytes, at most {TEXT_MAX} are read", text.len())));
        }
        let mut reader = Reader::default();
        for (number, line) in (1..).zip(text.split('\n')) {
            reader.line(line).map_err(|reason| bad(number, reason))?;
        }
        let quorum = reader.quorum.ok_or_else(|| bad(0, "it has no `quorum` line".into()))?;
        Ok(Self { text: text.into(), logs: reader.logs, witnesses: reader.witnesses, quorum })
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    logs: Vec<VerifierKey>,
    witnesses: Vec<PolicyWitness>,
    /// What a name stands for, and whether it is a group's member already, which it may be only once.
    names: HashMap<String, (Quorum, bool)>,
    quorum: Option<Quorum>,
    groups: usize,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err("only tab and line break are allowed as control characters".into());
        }
        let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items[..] {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] | ["log", key, _] => self.log(key),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, count, ref members @ ..] if !members.is_empty() => self.group(name, count, members),
            ["quorum", name] => self.set_quorum(name),
            _ => Err("a line is `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME all|any|K NAME…` or `quorum NAME|none`"
                .into()),
        }
    }

    fn log(&mut self, key: &str) -> Result<(), String> {
        let key = VerifierKey::parse(key).map_err(|error| error.to_string())?;
        self.check_new_key(key.bytes())?;
        if self.logs.len() == LOGS_MAX {
            return Err(format!("more than {LOGS_MAX} logs"));
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), String> {
        let key = WitnessKey::parse(key).map_err(|error| error.to_string())?;
        self.check_new_key(key.bytes())?;
        if self.witnesses.len() == WITNESSES_MAX {
            return Err(format!("more than {WITNESSES_MAX} witnesses"));
        }
        self.define(name, Quorum::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: name.into(), key, url: url.map(str::to_owned) });
        Ok(())
    }

    /// The same key under two names would count twice.
    fn check_new_key(&self, key: &Hash) -> Result<(), String> {
        let known = self.logs.iter().map(VerifierKey::bytes).chain(self.witnesses.iter().map(|witness| witness.key.bytes()));
        if known.into_iter().any(|known| known == key) { Err("the key is there already".into()) } else { Ok(()) }
    }

    fn group(&mut self, name: &str, count: &str, members: &[&str]) -> Result<(), String> {
        let count = match count {
            "all" => members.len(),
            "any" => 1,
            number => crate::text::number(number)
                .filter(|count| (1..=members.len()).contains(count))
                .ok_or_else(|| format!("`{number}` is none of `all`, `any` and 1 to {}", members.len()))?,
        };
        self.groups += 1;
        if self.groups > GROUPS_MAX {
            return Err(format!("more than {GROUPS_MAX} groups"));
        }
        let members = members.iter().map(|member| self.take(member)).collect::<Result<Vec<_>, _>>()?;
        self.define(name, Quorum::Group { count, members })
    }

    fn take(&mut self, member: &str) -> Result<Quorum, String> {
        let (what, taken) = self.names.get_mut(member).ok_or_else(|| undefined(member))?;
        if std::mem::replace(taken, true) { Err(format!("`{member}` is in a group already")) } else { Ok(what.clone()) }
    }

    fn define(&mut self, name: &str, what: Quorum) -> Result<(), String> {
        if name == "none" || self.names.insert(name.into(), (what, false)).is_some() {
            return Err(format!("`{name}` is taken"));
        }
        Ok(())
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), String> {
        let known = self.names.get(name).map(|(what, _)| what.clone());
        let quorum = if name == "none" { Quorum::None } else { known.ok_or_else(|| undefined(name))? };
        if self.quorum.replace(quorum).is_some() { Err("there is a `quorum` line already".into()) } else { Ok(()) }
    }
}

fn undefined(name: &str) -> String {
    format!("`{name}` is not defined above")
}

const TEXT_MAX: usize = 64 << 10;
const LOGS_MAX: usize = 32;
const WITNESSES_MAX: usize = 64;
const GROUPS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A witness's verifier key made from a seed.
    fn vkey(seed: u8) -> String {
        let key = crate::note::SignerKey::new("w.example", &[seed; 32]).unwrap();
        crate::note::witness_vkey(&format!("w{seed}.example"), key.verifier().bytes())
    }

    fn example() -> String {
        let witness = |name: &str, seed| format!("witness {name} {} http://127.0.0.1:1/{name}\n", vkey(seed));
        let witnesses: String = (1..).zip(["X1", "X2", "X3", "Y1", "Y2"]).map(|(seed, name)| witness(name, seed)).collect();
        format!(
            "# two houses\n\n{witnesses}\t group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2\n group X-and-Y all  X-witnesses\tY-witnesses \nquorum X-and-Y\n"
        )
    }

    #[test]
    fn groups_of_groups_count_as_the_specification_says() {
        let policy: Policy = example().parse().unwrap();
        assert_eq!(policy.witnesses()[1].url.as_deref(), Some("http://127.0.0.1:1/X2"));
        for (cosigned, met) in
            [("11000", false), ("11010", true), ("10111", true), ("00111", false), ("11111", true), ("00000", false)]
        {
            let cosigned: Vec<bool> = cosigned.bytes().map(|b| b == b'1').collect();
            assert_eq!(policy.is_met(&cosigned), met, "{cosigned:?}");
        }
        let none: Policy = "quorum none\n".parse().unwrap();
        assert!(none.is_met(&[]));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_its_line() {
        let key = vkey(1);
        for (text, line) in [
            (String::new(), 0),
            ("quorum a\n".into(), 1),
            ("quorum none\nquorum none\n".into(), 2),
            (format!("witness none {key}\nquorum none\n"), 1),
            (format!("witness a {key}\nwitness b {key}\nquorum a\n"), 2),
            (format!("witness a {key}\nwitness a {}\nquorum a\n", vkey(2)), 2),
            (format!("witness a {key}\ngroup g 2 a\nquorum g\n"), 2),
            (format!("witness a {key}\ngroup g 0 a\nquorum g\n"), 2),
            (format!("witness a {key}\ngroup g 01 a\nquorum g\n"), 2),
            (format!("witness a {key}\ngroup g any a a\nquorum g\n"), 2),
            (format!("witness a {key}\ngroup g any a\ngroup h any a\nquorum g\n"), 3),
            (format!("group g any a\nwitness a {key}\nquorum g\n"), 1),
            (format!("witness a {key}\r\nquorum a\n"), 1),
            (format!("witness a {key}x\nquorum a\n"), 1),
            (format!("log {key}\nquorum none\n"), 1),
            ("quorum none none\n".into(), 1),
        ] {
            let error = text.parse::<Policy>().unwrap_err();
            assert!(matches!(&error, Error::Policy { place, .. } if *place == format!("line {line}")), "{text}: {error}");
        }
    }
}
