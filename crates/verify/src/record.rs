//! What binds a record: leaf, salt, commitment. `docs/spec/record.md`, *Record and salt* and *Leaf*.
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use crate::{Hash, bytes::Bytes, text};

/// Names and grades of the transports, by number from 1.
const TRANSPORTS: [&[(&str, u8)]; 4] = [
    &[("file", b'B'), ("syslog_udp", b'C'), ("syslog_tcp", b'C'), ("http", b'B'), ("elastic_bulk", b'B')],
    &[("watch", b'B'), ("internal", b'A'), ("delivery", b'A'), ("syslog_tls", b'B'), ("relp", b'B')],
    &[("splunk_hec", b'B'), ("gelf_udp", b'C'), ("gelf_tcp", b'C'), ("gelf_http", b'B'), ("fluent_forward", b'B')],
    &[("otlp_http", b'B'), ("journal_upload", b'B'), ("otlp_grpc", b'B'), ("netflow_udp", b'C'), ("sflow_udp", b'C')],
];

/// Gives the salts of one segment.
pub(crate) fn salts(secret: &Hash, segment: u32) -> impl Fn(u32) -> Hash + use<> {
    let expand = Hkdf::<Sha256>::new(Some(b"reeve-salt/v1"), secret);
    move |index| {
        let mut salt = [0; 32];
        // 32 bytes are one block of the hash: expanding cannot fail.
        let _ = expand.expand_multi_info(&[&segment.to_be_bytes(), &index.to_be_bytes()], &mut salt);
        salt
    }
}

pub(crate) fn commit_secret(secret: &Hash) -> Hash {
    Sha256::new().chain_update(b"reeve-salt-secret/v1\0").chain_update(secret).finalize().into()
}

pub(crate) fn commit(salt: &Hash, raw: &[u8]) -> Hash {
    Sha256::new().chain_update(b"reeve-raw/v1\0").chain_update(salt).chain_update(raw).finalize().into()
}

pub(crate) fn transport_number(name: &[u8]) -> Option<u8> {
    (1..).zip(TRANSPORTS.into_iter().flatten()).find(|(_, (known, _))| known.as_bytes() == name).map(|(number, _)| number)
}

/// Hash of the leaf that keeps the place of a lost record.
pub(crate) fn lost_leaf(segment: u32, index: u32) -> Hash {
    crate::tree::leaf(&[&b"RVX1"[..], &segment.to_be_bytes(), &index.to_be_bytes()].concat())
}

/// What a leaf says about a record: everything but its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leaf<'a> {
    /// Segment number.
    pub segment: u32,
    /// Place in the segment, from 0.
    pub index: u32,
    /// Opening of the ledger that numbered it.
    pub epoch: u64,
    /// Number among the records of its source in this epoch, from 0.
    pub sequence: u64,
    /// Leaf hash of the record its source sent before; zeros for the first.
    pub previous: Hash,
    /// Microseconds since 1970.
    pub received_at: i64,
    /// 0 to 4: none, exact, zone inferred, year inferred, received.
    pub certainty: u8,
    /// Time the source claims, microseconds since 1970; 0 if none.
    pub claimed_at: i64,
    /// 1 to 20.
    pub transport: u8,
    /// Length of the raw bytes.
    pub raw_length: u64,
    /// Binds salt and raw bytes.
    pub commitment: Hash,
    /// Name of the source.
    pub source: &'a str,
    /// Policy label.
    pub policy: &'a str,
}

impl<'a> Leaf<'a> {
    /// The one encoding; `None` if a name is longer than its length field can say.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let place = [&b"RVL1"[..], &self.segment.to_be_bytes(), &self.index.to_be_bytes(), &self.epoch.to_be_bytes()].concat();
        let chain = [&self.sequence.to_be_bytes()[..], &self.previous].concat();
        let times = [&self.received_at.to_be_bytes()[..], &[self.certainty], &self.claimed_at.to_be_bytes()].concat();
        let bytes = [&[self.transport, grade(self.transport)?][..], &self.raw_length.to_be_bytes(), &self.commitment].concat();
        let mut out = [place, chain, times, bytes].concat();
        for name in [self.source, self.policy] {
            out.extend_from_slice(&u16::try_from(name.len()).ok()?.to_be_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        Some(out)
    }

    /// Reads a leaf; `None` unless the bytes are the one encoding of it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Bytes(bytes);
        rest.array().filter(|kind| kind == b"RVL1")?;
        let leaf = Self {
            segment: u32::from_be_bytes(rest.array()?),
            index: u32::from_be_bytes(rest.array()?),
            epoch: u64::from_be_bytes(rest.array()?),
            sequence: u64::from_be_bytes(rest.array()?),
            previous: rest.array()?,
            received_at: i64::from_be_bytes(rest.array()?),
            certainty: rest.byte()?,
            claimed_at: i64::from_be_bytes(rest.array()?),
            transport: rest.array().filter(|[number, letter]| grade(*number) == Some(*letter))?[0],
            raw_length: u64::from_be_bytes(rest.array()?),
            commitment: rest.array()?,
            source: std::str::from_utf8(rest.prefixed()?).ok()?,
            policy: std::str::from_utf8(rest.prefixed()?).ok()?,
        };
        let times = text::in_range(leaf.received_at) && text::in_range(leaf.claimed_at);
        let claim = leaf.certainty <= 4 && (leaf.certainty > 0 || leaf.claimed_at == 0);
        (times && claim && rest.0.is_empty()).then_some(leaf)
    }

    /// `segment-index`, as commands take it.
    pub fn id(&self) -> String {
        format!("{}-{}", self.segment, self.index)
    }

    /// The way it came, by name.
    pub fn transport_name(&self) -> &'static str {
        transport(self.transport).map_or("", |(name, _)| name)
    }

    /// How well that way protects a record before it is received: A, B or C.
    pub fn grade(&self) -> char {
        grade(self.transport).map_or('?', char::from)
    }
}

fn grade(number: u8) -> Option<u8> {
    transport(number).map(|(_, grade)| grade)
}

fn transport(number: u8) -> Option<(&'static str, u8)> {
    TRANSPORTS.into_iter().flatten().nth(usize::from(number).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example, as the specification prints it.
    #[test]
    fn the_worked_example_comes_out() {
        let spec = include_str!("../../../docs/spec/record.md");
        let printed = |name: &str| {
            let line = spec.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
            text::hex(line).unwrap()
        };
        let salt = salts(&[0x5a; 32], 7)(2);
        let raw = b"Jan  5 09:12:44 web1 sshd[311]: Accepted publickey for ana";
        let leaf = Leaf {
            segment: 7,
            index: 2,
            epoch: 3,
            sequence: 41,
            previous: [0; 32],
            received_at: text::time("2026-01-05T09:12:44.123456Z").unwrap(),
            certainty: 0,
            claimed_at: 0,
            transport: transport_number(b"syslog_udp").unwrap(),
            raw_length: raw.len() as u64,
            commitment: commit(&salt, raw),
            source: "syslog/web1",
            policy: "default",
        };
        let bytes = leaf.encode().unwrap();
        assert_eq!(salt[..], printed("salt"));
        assert_eq!(leaf.commitment[..], printed("commitment"));
        assert_eq!(bytes, printed("leaf"));
        assert_eq!(crate::tree::leaf(&bytes)[..], printed("leaf hash"));
        assert_eq!(commit_secret(&[0x5a; 32])[..], printed("secret commitment"));
        assert_eq!(lost_leaf(7, 2)[..], printed("lost leaf hash"));
        assert_eq!(Leaf::decode(&bytes), Some(leaf));
        for cut in 0..bytes.len() {
            assert_eq!(Leaf::decode(&bytes[..cut]), None);
        }
        assert_eq!(Leaf::decode(&[&bytes[..], b"x"].concat()), None);
    }
}
