//! NetFlow, IPFIX and sFlow: a record is one datagram, byte for byte. Which of them it speaks is told by its content, and what its
//! exporter's numbers say is missing is counted.
use std::{collections::HashMap, net::IpAddr, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use reeve_decode::flows::{Exporter, Protocol};
use reeve_record::{EventTime, Transport};
use tokio::sync::watch;

use crate::{
    Arrival, Error, Intake, Place, Running,
    datagram::{self, Datagrams},
};

/// Opens a listener for what routers and switches export by UDP. What is none of it is kept too, and counted as `not_a_flow`. What did not
/// come though later numbers did is counted as dropped, after a second or two: `flows_missing`, or `datagrams_missing` where the exporter
/// numbers these. Stops when `stop` turns true.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_flows(place: &Place, intake: Intake, stop: watch::Receiver<bool>) -> Result<Running, Error> {
    datagram::serve(place, Exports::default(), intake, stop).await
}

#[derive(Default)]
struct Exports {
    exporters: HashMap<Arc<str>, Exporter>,
}

impl Datagrams for Exports {
    const WAY: &'static str = "netflow";

    fn take(&mut self, raw: Bytes, peer: IpAddr, source: Arc<str>, intake: &Intake) -> Option<Arrival> {
        let Some(protocol) = Protocol::of(&raw) else {
            intake.counters.source(&source).problem("not_a_flow", 1);
            return Some(Arrival::new(raw, source, Transport::NetflowUdp));
        };
        let arrival = match protocol {
            Protocol::SFlow => Arrival::new(raw, format!("sflow/{}", peer.to_canonical()).into(), Transport::SflowUdp),
            Protocol::NetFlow { exported_at } => {
                Arrival { claimed: exported_at.map(EventTime::exact), ..Arrival::new(raw, source, Transport::NetflowUdp) }
            }
        };
        self.exporter(&arrival.source, intake).follow(&arrival.raw, Timestamp::now());
        Some(arrival)
    }

    fn tick(&mut self, intake: &Intake) {
        for (source, exporter) in &mut self.exporters {
            count(source, exporter, intake);
        }
    }

    fn finish(&mut self, intake: &Intake) {
        // What is still missing now has no more time to come.
        self.tick(intake);
        self.tick(intake);
    }
}

impl Exports {
    fn exporter(&mut self, source: &Arc<str>, intake: &Intake) -> &mut Exporter {
        // Addresses of datagrams can be made up: the table is bounded.
        if self.exporters.len() >= EXPORTERS_MAX && !self.exporters.contains_key(source) {
            self.finish(intake);
            self.exporters.clear();
        }
        self.exporters.entry(source.clone()).or_default()
    }
}

fn count(source: &str, exporter: &mut Exporter, intake: &Intake) {
    let missing = exporter.missing();
    for (reason, count) in [("flows_missing", missing.flows), ("datagrams_missing", missing.datagrams)] {
        if count > 0 {
            intake.counters.source(source).dropped(reason, count);
        }
    }
}

/// Exporters whose numbers are followed.
const EXPORTERS_MAX: usize = 1024;
