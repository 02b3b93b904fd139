use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::EventTime;

/// The way a record reached Reeve. The number of each is part of the leaf and never changes its meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Transport {
    /// A file given by a person.
    File = 1,
    /// Syslog in UDP datagrams.
    SyslogUdp = 2,
    /// Syslog over a TCP stream.
    SyslogTcp = 3,
    /// HTTP, one record a line.
    Http = 4,
    /// The Elastic bulk API.
    ElasticBulk = 5,
    /// A file in a watched folder.
    Watch = 6,
    /// Written by Reeve itself, such as an audit record.
    Internal = 7,
    /// A delivery that its source numbered and signed; format `docs/spec/receipt.md`.
    Delivery = 8,
    /// Syslog over TLS (RFC 5425).
    SyslogTls = 9,
    /// RELP, the syslog dialect with acknowledgements.
    Relp = 10,
    /// The Splunk HTTP Event Collector.
    SplunkHec = 11,
    /// GELF in UDP datagrams.
    GelfUdp = 12,
    /// GELF over a TCP stream.
    GelfTcp = 13,
    /// GELF over HTTP.
    GelfHttp = 14,
    /// The Fluent Forward protocol.
    FluentForward = 15,
    /// OpenTelemetry logs over HTTP.
    OtlpHttp = 16,
    /// The upload of systemd's journal.
    JournalUpload = 17,
    /// OpenTelemetry logs over gRPC.
    OtlpGrpc = 18,
    /// NetFlow or IPFIX in UDP datagrams.
    NetflowUdp = 19,
    /// sFlow in UDP datagrams.
    SflowUdp = 20,
}

/// How well the way in protects a record before Reeve has it.
///
/// Ordered from the best on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Grade {
    /// Signed and numbered by its sender, so that a missing record shows, or written by Reeve itself.
    A,
    /// Acknowledged to its sender, over a path that TLS protects, or from a file; not numbered by its sender.
    B,
    /// Plain syslog and the like: anyone on the path could drop, alter or invent it.
    C,
}

impl Transport {
    /// Every transport, in the order of its number.
    pub const ALL: [Transport; 20] = [
        Transport::File,
        Transport::SyslogUdp,
        Transport::SyslogTcp,
        Transport::Http,
        Transport::ElasticBulk,
        Transport::Watch,
        Transport::Internal,
        Transport::Delivery,
        Transport::SyslogTls,
        Transport::Relp,
        Transport::SplunkHec,
        Transport::GelfUdp,
        Transport::GelfTcp,
        Transport::GelfHttp,
        Transport::FluentForward,
        Transport::OtlpHttp,
        Transport::JournalUpload,
        Transport::OtlpGrpc,
        Transport::NetflowUdp,
        Transport::SflowUdp,
    ];

    /// The number that stands for it in leaves and files.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Undoes [`Transport::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.code() == code)
    }

    /// The name used in files, the API and the console.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::File => "file",
            Transport::SyslogUdp => "syslog_udp",
            Transport::SyslogTcp => "syslog_tcp",
            Transport::Http => "http",
            Transport::ElasticBulk => "elastic_bulk",
            Transport::Watch => "watch",
            Transport::Internal => "internal",
            Transport::Delivery => "delivery",
            Transport::SyslogTls => "syslog_tls",
            Transport::Relp => "relp",
            Transport::SplunkHec => "splunk_hec",
            Transport::GelfUdp => "gelf_udp",
            Transport::GelfTcp => "gelf_tcp",
            Transport::GelfHttp => "gelf_http",
            Transport::FluentForward => "fluent_forward",
            Transport::OtlpHttp => "otlp_http",
            Transport::JournalUpload => "journal_upload",
            Transport::OtlpGrpc => "otlp_grpc",
            Transport::NetflowUdp => "netflow_udp",
            Transport::SflowUdp => "sflow_udp",
        }
    }

    /// What this way in protects against.
    pub const fn grade(self) -> Grade {
        match self {
            Transport::Internal | Transport::Delivery => Grade::A,
            Transport::SyslogUdp | Transport::SyslogTcp | Transport::GelfUdp | Transport::GelfTcp => Grade::C,
            Transport::NetflowUdp | Transport::SflowUdp => Grade::C,
            Transport::File | Transport::Watch | Transport::Http | Transport::ElasticBulk | Transport::JournalUpload => Grade::B,
            Transport::SyslogTls | Transport::Relp | Transport::FluentForward => Grade::B,
            Transport::SplunkHec | Transport::GelfHttp | Transport::OtlpHttp | Transport::OtlpGrpc => Grade::B,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no transport.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a transport, as `syslog_tcp` or `http` are: docs/spec/record.md lists them")]
pub struct UnknownTransport(String);

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(text: &str) -> Result<Self, UnknownTransport> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.name() == text)
            .ok_or_else(|| UnknownTransport(text.chars().take(80).collect()))
    }
}

/// What Reeve noted when it received a record. Assigned by the ledger at append; says nothing about what is inside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Name of the source the record came from.
    pub source: Arc<str>,
    /// Which opening of the ledger numbered it: sequences start again from 0 with each epoch.
    pub epoch: u64,
    /// Number of the record among those of its source in this epoch, from 0.
    pub sequence: u64,
    /// When Reeve received it, in whole microseconds, by Reeve's own clock.
    pub received_at: Timestamp,
    /// The way it came.
    pub transport: Transport,
    /// When the source claims it happened, where the receiver already knew; whole microseconds.
    pub claimed: Option<EventTime>,
    /// Label of the retention and access regime it falls under.
    pub policy: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_come_back() {
        for transport in Transport::ALL {
            assert_eq!(Transport::from_code(transport.code()), Some(transport));
            assert_eq!(transport.name().parse(), Ok(transport));
            assert_eq!(serde_name(transport), transport.name());
        }
        assert_eq!(Transport::from_code(0), None);
        assert_eq!(Transport::from_code(21), None);
        assert!("telegraph".parse::<Transport>().unwrap_err().to_string().contains("`telegraph`"));
    }

    /// The name serde derives, read from a value deserializer so that no format crate is needed.
    fn serde_name(transport: Transport) -> &'static str {
        use serde::de::{IntoDeserializer, value::Error};
        let name = transport.name();
        let deserializer: serde::de::value::StrDeserializer<'_, Error> = name.into_deserializer();
        let back = Transport::deserialize(deserializer).unwrap_or_else(|e| unreachable!("{e}"));
        back.name()
    }
}
