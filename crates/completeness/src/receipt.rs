//! What Reeve signs when a delivery is durable, and how anyone holds it to that.
use jiff::Timestamp;
use reeve_ledger::{Attested, Ledger, StoredRecord, VerifierKey, open_attested};
use reeve_record::{Hash, RecordId, Transport};

use crate::{
    HEADS, Head,
    spelling::{base64, exact, hash, parse_time, sized, time},
};

/// The ledger's word that a delivery is durable; format `docs/spec/receipt.md`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Name of the source.
    pub source: String,
    /// The source's epoch.
    pub epoch: u64,
    /// Number of the first record.
    pub first: u64,
    /// Records.
    pub count: u64,
    /// [`Head::hash`] of the delivery.
    pub delivery: Hash,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// SHA-256 of the body.
    pub body_hash: Hash,
    /// Where the head lies; the records follow it.
    pub head: RecordId,
    /// When it was received, by the ledger's clock.
    pub received: Timestamp,
}

/// What of a receipt does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptFault {
    /// The ledger's key did not sign this. The reason follows "the receipt …".
    #[error("the receipt {0}")]
    Signature(String),
    /// The text breaks its form.
    #[error("the receipt is signed but not in the form of docs/spec/receipt.md")]
    Form,
    /// The ledger does not hold what was promised.
    #[error("the ledger does not hold what was promised: {what} at {at}")]
    Broken {
        /// Where.
        at: RecordId,
        /// What is missing or other, in words.
        what: String,
    },
}

impl Receipt {
    /// The receipt for a head at `head`, received then.
    pub(crate) fn of(delivery: &Head, head: RecordId, received: Timestamp) -> Self {
        Self {
            source: delivery.source.clone(),
            epoch: delivery.epoch,
            first: delivery.first,
            count: delivery.count,
            delivery: delivery.hash(),
            body_bytes: delivery.body_bytes,
            body_hash: delivery.body_hash,
            head,
            received,
        }
    }

    /// The lines after kind and origin.
    pub fn to_lines(&self) -> String {
        format!(
            "source {}\nepoch {}\nfirst {}\ncount {}\ndelivery {}\nbody {} {}\nhead {}\nreceived {}\n",
            self.source,
            self.epoch,
            self.first,
            self.count,
            base64(&self.delivery),
            self.body_bytes,
            base64(&self.body_hash),
            self.head,
            time(self.received),
        )
    }

    /// Checks the signature and reads a receipt, offline.
    ///
    /// # Errors
    /// [`ReceiptFault::Signature`], [`ReceiptFault::Form`].
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, ReceiptFault> {
        let lines = open_attested(Attested::Receipt, note, key).map_err(ReceiptFault::Signature)?;
        Self::parse(lines).ok_or(ReceiptFault::Form)
    }

    /// Reads a receipt without looking at who signed it.
    ///
    /// # Errors
    /// [`ReceiptFault::Form`].
    pub fn read(note: &str) -> Result<Self, ReceiptFault> {
        let text = note.rfind("\n\n").and_then(|end| note[..=end].strip_prefix("reeve-receipt/v1\norigin "));
        text.and_then(|text| Self::parse(text.split_once('\n')?.1)).ok_or(ReceiptFault::Form)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let source = field("source")?.to_owned();
        let (epoch, first, count) = (exact(field("epoch")?)?, exact(field("first")?)?, exact(field("count")?)?);
        let delivery = hash(field("delivery")?)?;
        let (body_bytes, body_hash) = sized(field("body")?)?;
        let (head, received) = (exact(field("head")?)?, parse_time(field("received")?)?);
        let receipt = Self { source, epoch, first, count, delivery, body_bytes, body_hash, head, received };
        (lines.next().is_none() && count <= crate::COUNT_MAX).then_some(receipt)
    }

    /// Ids of its records.
    pub fn records(&self) -> impl Iterator<Item = RecordId> + use<> {
        let (head, count) = (self.head, self.count as u32);
        (1..=count).filter_map(move |n| Some(RecordId { index: head.index.checked_add(n)?, ..head }))
    }

    /// Whether `ledger` holds what the receipt promises.
    ///
    /// # Errors
    /// [`ReceiptFault::Broken`] names the first record that is not as promised.
    pub fn check_in(&self, ledger: &Ledger) -> Result<(), ReceiptFault> {
        let broken = |at: RecordId, what: &str| ReceiptFault::Broken { at, what: what.into() };
        let ids: Vec<RecordId> = std::iter::once(self.head).chain(self.records()).collect();
        let stored = ledger.get_many(&ids).map_err(|error| broken(self.head, &error.to_string()))?;
        let mut stored = stored.into_iter().zip(ids).map(|(record, at)| record.ok_or(broken(at, "there is no record")));
        let head = stored.next().unwrap_or_else(|| Err(broken(self.head, "there is no record")))?;
        self.check_head(&head).map_err(|what| broken(self.head, what))?;
        // Not made as long as the receipt says: that is a claim.
        let mut body = Vec::new();
        for record in stored {
            let record = record?;
            if record.receipt.transport != Transport::Delivery || *record.receipt.source != self.source {
                return Err(broken(record.id, "the record is not one of this source's deliveries"));
            }
            body.extend_from_slice(&record.raw);
            body.push(b'\n');
        }
        if body.len() as u64 != self.body_bytes || crate::spelling::sha256(&body) != self.body_hash {
            return Err(broken(self.head, "the records that follow the head are not the bytes that were receipted"));
        }
        Ok(())
    }

    fn check_head(&self, record: &StoredRecord) -> Result<(), &'static str> {
        let Some(head) = head_in(record) else { return Err("the record is no head of a delivery") };
        let same = (&head.source, head.epoch, head.first, head.count, head.hash());
        if same != (&self.source, self.epoch, self.first, self.count, self.delivery) {
            return Err("the head is another delivery's");
        }
        if record.receipt.received_at == self.received { Ok(()) } else { Err("the head was received at another time") }
    }
}

/// The head that a stored record is, if it is one.
pub(crate) fn head_in(record: &StoredRecord) -> Option<Head> {
    let source = record.receipt.source.strip_prefix(HEADS).filter(|_| record.receipt.transport == Transport::Internal)?;
    Head::read(&record.raw).filter(|head| head.source == source)
}
