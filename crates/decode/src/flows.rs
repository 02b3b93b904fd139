//! Exporters of flows by the datagrams they send: which protocol they speak, and what of theirs did not come.

use jiff::Timestamp;

use crate::netflow::{self, Templates};
pub use crate::sequence::Missing;
use crate::sequence::Sequences;
use crate::sflow;

/// A protocol for flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// NetFlow version 5 or 9, or IPFIX.
    NetFlow {
        /// When the exporter says it sent the datagram.
        exported_at: Option<Timestamp>,
    },
    /// sFlow version 5, which says no time of day.
    SFlow,
}

impl Protocol {
    /// Told by how a datagram begins; `None` if it is of neither, or too short to say.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        if netflow::may_be(datagram) {
            return Some(Self::NetFlow { exported_at: netflow::exported_at(datagram) });
        }
        sflow::may_be(datagram).then_some(Self::SFlow)
    }
}

/// What is known of one exporter from its datagrams. Memory is bounded.
#[derive(Default)]
pub struct Exporter {
    pub(crate) templates: Templates,
    pub(crate) sequences: Sequences,
}

impl Exporter {
    /// Takes a datagram in the order in which it came, for what its numbers say: its records are counted and not read.
    ///
    /// IPFIX numbers records, which are counted by templates: nothing is said of it before these have come.
    pub fn follow(&mut self, datagram: &[u8], received: Timestamp) {
        if netflow::may_be(datagram)
            && let Some(numbers) = netflow::numbered(datagram)
        {
            let records = netflow::records(&mut self.templates, datagram, received);
            self.sequences.arrive(&numbers, records);
            self.sequences.holds(numbers.key, records);
        } else if sflow::may_be(datagram)
            && let Some(numbers) = sflow::numbered(datagram)
        {
            self.sequences.arrive(&numbers, None);
        }
    }

    /// What was missing when this was last called and has not come since; each is told once. Call it once a second.
    pub fn missing(&mut self) -> Missing {
        self.sequences.missing()
    }
}
