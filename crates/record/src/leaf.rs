use hkdf::Hkdf;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{Certainty, EventTime, Receipt, RecordId, Transport};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// The secret a segment's salts are derived from. Whoever destroys it makes the commitments of that segment unguessable for good.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltSecret([u8; 32]);

impl SaltSecret {
    /// Takes 32 secret random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself, to be kept with the segment's content and nowhere else.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of a tag and the secret: lets a batch statement bind the secret without telling it.
    pub fn commitment(&self) -> Hash {
        Sha256::new().chain_update(SECRET_TAG).chain_update(self.0).finalize().into()
    }

    /// The salts of segment `segment`.
    pub fn salts(&self, segment: u32) -> Salts {
        Salts { expand: Hkdf::<Sha256>::new(Some(SALT_TAG), &self.0), segment }
    }
}

impl std::fmt::Debug for SaltSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SaltSecret(..)")
    }
}

/// Derives the salt of each record of one segment: HKDF-SHA-256 (RFC 5869), info = segment and index.
#[derive(Clone)]
pub struct Salts {
    expand: Hkdf<Sha256>,
    segment: u32,
}

impl Salts {
    /// The salt of the record at `index`.
    pub fn salt(&self, index: u32) -> [u8; 32] {
        let mut salt = [0; 32];
        let mut info = [0; 8];
        info[..4].copy_from_slice(&self.segment.to_be_bytes());
        info[4..].copy_from_slice(&index.to_be_bytes());
        let expanded = self.expand.expand(&info, &mut salt);
        debug_assert!(expanded.is_ok(), "32 bytes are within what HKDF can expand");
        salt
    }
}

/// SHA-256 of a tag, the salt and the raw bytes: what a leaf says about its content.
pub fn commit(salt: &[u8; 32], raw: &[u8]) -> Hash {
    Sha256::new().chain_update(RAW_TAG).chain_update(salt).chain_update(raw).finalize().into()
}

/// The canonical statement about one record, format `docs/spec/record.md`. Holds no content, so it may be shown where the content may not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Where the record lies.
    pub id: RecordId,
    /// Leaf hash of the record its source sent before this one in the same epoch; zeros for the first.
    pub previous: Hash,
    /// What was noted on receipt.
    pub receipt: Receipt,
    /// Length of the raw bytes.
    pub raw_length: u64,
    /// Salted hash of the raw bytes, see [`commit`].
    pub commitment: Hash,
}

/// The bytes are no leaf.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a leaf: {what} at byte {offset}")]
pub struct LeafError {
    /// Which rule is broken.
    pub what: &'static str,
    /// Where in the bytes.
    pub offset: usize,
}

impl Leaf {
    /// The canonical bytes. Times are floored to microseconds; names longer than 65,535 bytes are cut there (the ledger refuses them earlier).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.receipt.source.len() + self.receipt.policy.len() + 4);
        encode_into(&mut out, self.id, &self.previous, &self.receipt, self.raw_length, &self.commitment);
        out
    }

    /// Reads the canonical bytes; anything else, and anything after them, is refused.
    ///
    /// # Errors
    /// [`LeafError`] names the rule and the offset.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeafError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take::<4>()? != *MAGIC {
            return Err(LeafError { what: "the version tag `RVL1` is missing", offset: 0 });
        }
        let id = RecordId { segment: u32::from_be_bytes(reader.take()?), index: u32::from_be_bytes(reader.take()?) };
        let epoch = u64::from_be_bytes(reader.take()?);
        let sequence = u64::from_be_bytes(reader.take()?);
        let previous = reader.take()?;
        let received_at = reader.timestamp()?;
        let claimed = reader.claimed()?;
        let transport = reader.transport()?;
        let raw_length = u64::from_be_bytes(reader.take()?);
        let commitment = reader.take()?;
        let source = reader.text()?.into();
        let policy = reader.text()?.into();
        if reader.at != bytes.len() {
            return Err(LeafError { what: "bytes follow the end", offset: reader.at });
        }
        let receipt = Receipt { source, epoch, sequence, received_at, transport, claimed, policy };
        Ok(Self { id, previous, receipt, raw_length, commitment })
    }

    /// RFC 6962 leaf hash: SHA-256(0x00 ‖ canonical bytes).
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.encode())
    }
}

/// Appends the canonical bytes of a leaf to `out`, for callers that hash many and keep none.
pub fn encode_into(out: &mut Vec<u8>, id: RecordId, previous: &Hash, receipt: &Receipt, raw_length: u64, commitment: &Hash) {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&id.segment.to_be_bytes());
    out.extend_from_slice(&id.index.to_be_bytes());
    out.extend_from_slice(&receipt.epoch.to_be_bytes());
    out.extend_from_slice(&receipt.sequence.to_be_bytes());
    out.extend_from_slice(previous);
    out.extend_from_slice(&receipt.received_at.as_microsecond().to_be_bytes());
    out.push(certainty_code(receipt.claimed.map(|time| time.certainty)));
    out.extend_from_slice(&receipt.claimed.map_or(0, |time| time.at.as_microsecond()).to_be_bytes());
    out.push(receipt.transport.code());
    out.push(receipt.transport.grade() as u8 + b'A');
    out.extend_from_slice(&raw_length.to_be_bytes());
    out.extend_from_slice(commitment);
    for text in [&receipt.source, &receipt.policy] {
        let length = text.len().min(usize::from(u16::MAX));
        out.extend_from_slice(&(length as u16).to_be_bytes());
        out.extend_from_slice(&text.as_bytes()[..length]);
    }
}

/// RFC 6962 leaf hash of any entry: SHA-256(0x00 ‖ bytes).
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// The bytes that stand in the batch tree for a record whose content did not survive to be sealed.
pub fn lost_leaf(id: RecordId) -> [u8; 12] {
    let mut out = [0; 12];
    out[..4].copy_from_slice(LOST_MAGIC);
    out[4..8].copy_from_slice(&id.segment.to_be_bytes());
    out[8..].copy_from_slice(&id.index.to_be_bytes());
    out
}

/// The number of a certainty in leaves and files; 0 where the receiver knew no claimed time.
pub const fn certainty_code(certainty: Option<Certainty>) -> u8 {
    match certainty {
        None => 0,
        Some(Certainty::Exact) => 1,
        Some(Certainty::ZoneInferred) => 2,
        Some(Certainty::YearInferred) => 3,
        Some(Certainty::Received) => 4,
    }
}

/// Undoes [`certainty_code`]; `None` if the number means nothing.
pub const fn certainty_from_code(code: u8) -> Option<Option<Certainty>> {
    Some(match code {
        0 => None,
        1 => Some(Certainty::Exact),
        2 => Some(Certainty::ZoneInferred),
        3 => Some(Certainty::YearInferred),
        4 => Some(Certainty::Received),
        _ => return None,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], LeafError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(LeafError { what: "the bytes end early", offset: self.bytes.len() })?;
        let slice = &self.bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], LeafError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N)?);
        Ok(out)
    }

    fn timestamp(&mut self) -> Result<Timestamp, LeafError> {
        let offset = self.at;
        Timestamp::from_microsecond(i64::from_be_bytes(self.take()?))
            .map_err(|_| LeafError { what: "the time is out of range", offset })
    }

    fn claimed(&mut self) -> Result<Option<EventTime>, LeafError> {
        let offset = self.at;
        let [code] = self.take()?;
        let certainty = certainty_from_code(code).ok_or(LeafError { what: "unknown certainty", offset })?;
        let at = self.timestamp()?;
        match certainty {
            Some(certainty) => Ok(Some(EventTime { at, certainty })),
            None if at.as_microsecond() == 0 => Ok(None),
            None => Err(LeafError { what: "a claimed time without its certainty", offset }),
        }
    }

    fn transport(&mut self) -> Result<Transport, LeafError> {
        let offset = self.at;
        let [code, grade] = self.take()?;
        let transport = Transport::from_code(code).ok_or(LeafError { what: "unknown transport", offset })?;
        if grade != transport.grade() as u8 + b'A' {
            return Err(LeafError { what: "the grade is not that of the transport", offset: offset + 1 });
        }
        Ok(transport)
    }

    fn text(&mut self) -> Result<&'a str, LeafError> {
        let length = u16::from_be_bytes(self.take()?);
        let offset = self.at;
        std::str::from_utf8(self.slice(usize::from(length))?).map_err(|_| LeafError { what: "a name is not UTF-8", offset })
    }
}

const MAGIC: &[u8; 4] = b"RVL1";
const LOST_MAGIC: &[u8; 4] = b"RVX1";
const RAW_TAG: &[u8] = b"reeve-raw/v1\0";
const SALT_TAG: &[u8] = b"reeve-salt/v1";
const SECRET_TAG: &[u8] = b"reeve-salt-secret/v1\0";
/// Bytes of a leaf apart from its two names.
const FIXED: usize = 4 + 8 + 16 + 32 + 8 + 9 + 2 + 8 + 32 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of docs/spec/record.md.
    fn example() -> (Leaf, [u8; 32]) {
        let raw = b"Jan  5 09:12:44 web1 sshd[311]: Accepted publickey for ana";
        let id = RecordId { segment: 7, index: 2 };
        let salt = SaltSecret::new([0x5a; 32]).salts(7).salt(2);
        let receipt = Receipt {
            source: "syslog/web1".into(),
            epoch: 3,
            sequence: 41,
            received_at: "2026-01-05T09:12:44.123456Z".parse().unwrap_or_default(),
            transport: Transport::SyslogUdp,
            claimed: None,
            policy: "default".into(),
        };
        let leaf = Leaf { id, previous: [0; 32], receipt, raw_length: raw.len() as u64, commitment: commit(&salt, raw) };
        (leaf, salt)
    }

    #[test]
    fn the_specification_example_has_these_bytes() {
        let spec = include_str!("../../../docs/spec/record.md");
        let (leaf, salt) = example();
        for (name, bytes) in [
            ("salt", salt.to_vec()),
            ("commitment", leaf.commitment.to_vec()),
            ("leaf", leaf.encode()),
            ("leaf hash", leaf.hash().to_vec()),
            ("secret commitment", SaltSecret::new([0x5a; 32]).commitment().to_vec()),
            ("lost leaf hash", leaf_hash(&lost_leaf(leaf.id)).to_vec()),
        ] {
            let line = format!("{name}: {}", hex::encode(&bytes));
            assert!(spec.lines().any(|have| have == line), "docs/spec/record.md does not hold the line\n{line}");
        }
    }

    #[test]
    fn every_leaf_comes_back_and_no_prefix_is_one() {
        let (mut leaf, _) = example();
        leaf.receipt.claimed = Some(EventTime { at: Timestamp::MIN, certainty: Certainty::YearInferred });
        let bytes = leaf.encode();
        let back = Leaf::decode(&bytes);
        assert_eq!(back.map(|leaf| leaf.encode()), Ok(bytes.clone()));
        for length in 0..bytes.len() {
            assert!(Leaf::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Leaf::decode(&longer), Err(LeafError { what: "bytes follow the end", offset: bytes.len() }));
    }

    #[test]
    fn a_flipped_bit_is_another_leaf_or_none() {
        let (leaf, _) = example();
        let bytes = leaf.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = Leaf::decode(&flipped) {
                assert_eq!(read.encode(), flipped, "bit {bit}: two encodings of one leaf");
                assert_ne!(read, leaf, "bit {bit}");
            }
        }
    }

    #[test]
    fn salts_differ_by_record_and_segment() {
        let secret = SaltSecret::new([1; 32]);
        assert_ne!(secret.salts(1).salt(0), secret.salts(1).salt(1));
        assert_ne!(secret.salts(1).salt(0), secret.salts(2).salt(0));
        assert_eq!(format!("{secret:?}"), "SaltSecret(..)");
    }
}
