use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::text::{self, Encoding};
use crate::value::{Map, Value};
use crate::{
    Parsed, Problem, android, apple, application, artefact, asl, auditd, aws_text, bsm, carrier, cloud, delimited, evtx,
    exported, family, flows, fluent, form, fsevents, haproxy, host_text, journald, json, kv, lines, netflow, otlp, services,
    sflow, split, syslog, tracev3, utmp, w3c, web, winxml, zeek,
};

/// Every name [`Parsed::decoder`] may have.
pub const DECODERS: &[&str] = &[
    "evtx",
    "json.winlogbeat",
    "json.nxlog",
    "json.evtx",
    "xml.evtx",
    "json",
    "syslog.3164",
    "syslog.5424",
    "auditd",
    "auditd.laurel",
    "journald",
    "suricata.eve",
    "aws.cloudtrail",
    cloud::GUARDDUTY,
    cloud::ROUTE53,
    cloud::SECURITY_HUB,
    cloud::AZURE_ACTIVITY,
    cloud::AZURE_AUDIT,
    cloud::AZURE_RISK,
    cloud::AZURE_SIGNIN,
    cloud::GCP,
    cloud::GITHUB,
    cloud::KUBERNETES,
    cloud::M365,
    cloud::OKTA,
    cloud::OSQUERY,
    cloud::WORKSPACE,
    services::WAF,
    services::CLOUDFLARE_HTTP,
    services::CLOUDFLARE_FIREWALL,
    services::AUTH0,
    services::DUO,
    services::SLACK,
    services::ZOOM,
    services::BOX,
    services::ONELOGIN,
    services::ONEPASSWORD,
    services::FDR,
    services::FALCON,
    services::ZSCALER,
    services::UMBRELLA,
    "web.access",
    "web.error",
    "haproxy",
    "web.iis",
    "w3c",
    "windows.firewall",
    "aws.cloudfront",
    "aws.alb",
    "aws.elb",
    "aws.nlb",
    "aws.s3access",
    "aws.vpcflow",
    "cef",
    "leef",
    "kv",
    "csv",
    "utmp",
    "nfdump",
    apple::ENDPOINT_SECURITY,
    apple::UNIFIED_LOG,
    apple::REPORT,
    apple::PRIVACY,
    apple::ELASTIC,
    "santa",
    "macos.syslog",
    "macos.bsm",
    "macos.asl",
    "macos.fsevents",
    "ios.sysdiagnose",
    "android.logcat",
    "android.tombstone",
    host_text::CONTAINER,
    host_text::SHELL,
    "glog",
    "teamviewer",
    "artefact",
    "netflow",
    "sflow",
    application::BODYFILE,
    application::JAVA,
    application::MCAFEE,
    application::PCA,
    application::POSTGRESQL,
    application::TREND_MICRO,
    application::WINCC,
    "fluent",
    "otlp",
    "text",
    "unknown",
    zeek::CONN,
    zeek::CAPTURE_LOSS,
    zeek::DCE_RPC,
    zeek::DHCP,
    zeek::DNP3,
    zeek::DNS,
    zeek::DPD,
    zeek::FILES,
    zeek::FTP,
    zeek::HTTP,
    zeek::INTEL,
    zeek::IRC,
    zeek::KERBEROS,
    zeek::KNOWN_CERTS,
    zeek::KNOWN_HOSTS,
    zeek::KNOWN_SERVICES,
    zeek::LDAP,
    zeek::LDAP_SEARCH,
    zeek::LOADED_SCRIPTS,
    zeek::MODBUS,
    zeek::MQTT,
    zeek::MYSQL,
    zeek::NOTICE,
    zeek::NTLM,
    zeek::NTP,
    zeek::OCSP,
    zeek::PACKET_FILTER,
    zeek::PE,
    zeek::POSTGRESQL,
    zeek::QUIC,
    zeek::RADIUS,
    zeek::RDP,
    zeek::REPORTER,
    zeek::RFB,
    zeek::SIP,
    zeek::SMB_FILES,
    zeek::SMB_MAPPING,
    zeek::SMTP,
    zeek::SNMP,
    zeek::SOCKS,
    zeek::SOFTWARE,
    zeek::SSH,
    zeek::SSL,
    zeek::STATS,
    zeek::SYSLOG,
    zeek::TELEMETRY,
    zeek::TUNNEL,
    zeek::WEIRD,
    zeek::WEBSOCKET,
    zeek::X509,
    zeek::OTHER,
];

/// What the caller knows about a stream beforehand. The default knows nothing: content decides.
#[derive(Clone, Debug, Default)]
pub struct Hint {
    /// Records are text of no known shape; nothing else is tried.
    pub plain_text: bool,
    /// Also read the records that an EVTX chunk no longer counts but still holds in its unused space, named `evtx.recovered`.
    /// In damaged chunks they are read in any case.
    pub recover_deleted: bool,
    /// The router that sends flows: what it sends does not name it.
    pub exporter: Option<IpAddr>,
}

impl Hint {
    /// What a source's name says: that of a flow listener names the exporter, as in `netflow/192.0.2.1`.
    pub fn of_source(source: &str) -> Self {
        let exporter = source.strip_prefix("netflow/").or_else(|| source.strip_prefix("sflow/"));
        Self { exporter: exporter.and_then(|address| address.parse().ok()), ..Self::default() }
    }
}

/// Reads the raw records of one source's stream, in order, into events.
///
/// It holds what joins records: auditd events in the making, a line of text that may go on, header lines, templates of flows, the text encoding.
/// Memory is bounded.
pub struct Decoder {
    hint: Hint,
    encoding: Encoding,
    evtx: evtx::Chunks,
    zeek: Option<zeek::Header>,
    w3c: Option<w3c::Header>,
    flow: Option<aws_text::FlowHeader>,
    table: delimited::Table,
    header: Option<u64>,
    logins: utmp::Sessions,
    unified: tracev3::Log,
    artefact: Option<artefact::Kind>,
    audit: auditd::Joiner,
    lines: lines::Joiner,
    exporter: flows::Exporter,
    /// [`Parsed::number`] of the record fed last.
    number: u64,
}

impl Decoder {
    /// A decoder for one stream.
    pub fn new(hint: Hint) -> Self {
        Self {
            encoding: Encoding::Utf8,
            evtx: evtx::Chunks::new(hint.recover_deleted),
            hint,
            zeek: None,
            w3c: None,
            flow: None,
            table: delimited::Table::default(),
            header: None,
            logins: utmp::Sessions::default(),
            unified: tracev3::Log::default(),
            artefact: None,
            audit: auditd::Joiner::default(),
            lines: lines::Joiner::default(),
            exporter: flows::Exporter::default(),
            number: 0,
        }
    }

    /// Reads one raw record. `key` comes back in [`Parsed::records`], `number` in [`Parsed::number`]; `received` settles times
    /// without a year. Calls `emit` for each event: none for a header line or a part of an event to come, many for a bundle.
    pub fn feed(&mut self, key: u64, number: u64, raw: &[u8], received: Timestamp, emit: &mut dyn FnMut(Parsed<'_>)) {
        // Records were left out: nothing is missing between the datagrams around them.
        if std::mem::replace(&mut self.number, number).checked_add(1) != Some(number) {
            self.exporter.sequences.forget();
        }
        let goes_on = lines::goes_on(raw) || self.lines.wants(raw);
        if !goes_on {
            self.lines.flush(emit);
        }
        if raw.starts_with(b"ElfChnk\0") {
            return self.evtx.feed(key, raw, emit);
        }
        if raw.starts_with(b"ElfFile\0") {
            return evtx::header(key, raw, emit);
        }
        if self.binary(key, number, raw, received, emit) {
            return;
        }
        if let Some((encoding, _)) = text::byte_order_mark(raw) {
            self.encoding = encoding;
        }
        let mut problems = Vec::new();
        let text = text::decode(raw, self.encoding, &mut problems);
        let mut record = Record { key, number, raw, received, problems };
        if goes_on {
            match self.lines.join(record, text.trim_ascii_end()) {
                Some(first) => record = first,
                None => return,
            }
            self.lines.flush(emit);
        }
        if self.hint.plain_text {
            return self.plain(record, &text, emit);
        }
        self.text(record, &text, emit);
    }

    /// Emits what still waits for further records: call at the end, or after half a second of silence.
    pub fn flush(&mut self, emit: &mut dyn FnMut(Parsed<'_>)) {
        if let Some(held) = self.table.release() {
            self.as_ever(&held, emit);
        }
        self.table.flush(emit);
        self.lines.flush(emit);
        self.audit.flush(emit);
    }

    /// The key of the record that names the columns of the records after it, once, if the record fed last has shown that there is one
    /// (its header line is then this record or an earlier one). Fed again to a new decoder, it lets that one read on in the middle.
    ///
    /// Header lines that start with `#` are not named here.
    pub fn header(&mut self) -> Option<u64> {
        self.header.take()
    }

    /// Keys of the records that taught the templates of flows it knows, ascending, 64 at most; `None` if they are those it said before.
    ///
    /// A decoder made anew in the middle of the stream reads on as this one would if it is fed these records first.
    pub fn taught_by(&mut self) -> Option<Vec<u64>> {
        self.exporter.templates.taught_by()
    }

    /// Reads what comes packed, by the form of all its bytes; false if it is something else.
    fn binary(&mut self, key: u64, number: u64, raw: &[u8], received: Timestamp, emit: &mut dyn FnMut(Parsed<'_>)) -> bool {
        let record = |problems| Record { key, number, raw, received, problems };
        if let Some(event) = Some(raw).filter(|raw| fluent::may_be(raw)).and_then(fluent::read) {
            let around = Around { decoder: "fluent", time: event.time, audit: Some(&mut self.audit) };
            open(record(event.problems), event.record, around, emit);
            return true;
        }
        if let Some(log) = Some(raw).filter(|raw| otlp::may_be(raw)).and_then(otlp::read) {
            let around = Around { decoder: "otlp", time: log.time, audit: Some(&mut self.audit) };
            open(record(Vec::new()), log.native, around, emit);
            return true;
        }
        if let Some((mut native, time, problems)) = utmp::read(raw) {
            self.logins.follow(&mut native);
            emit(record(problems).event("utmp", native, time));
            return true;
        }
        if netflow::may_be(raw) {
            netflow::read(&mut self.exporter, record(Vec::new()), self.hint.exporter, emit);
            return true;
        }
        if sflow::may_be(raw) {
            sflow::read(&mut self.exporter.sequences, record(Vec::new()), emit);
            return true;
        }
        self.of_phones_and_macs(&record, raw, emit)
    }

    /// The binary logs of macOS and iOS, and files that are known and no logs.
    fn of_phones_and_macs<'r>(
        &mut self,
        record: &dyn Fn(Vec<Problem>) -> Record<'r>,
        raw: &'r [u8],
        emit: &mut dyn FnMut(Parsed<'_>),
    ) -> bool {
        let Record { key, number, .. } = record(Vec::new());
        if let Some((native, time, problems)) = bsm::read(raw) {
            emit(record(problems).event("macos.bsm", native, time));
        } else if tracev3::is_chunk(raw) {
            self.unified.feed(key, number, raw, emit);
        } else if raw.starts_with(asl::MAGIC) {
            asl::feed(key, number, raw, emit);
        } else if fsevents::extent(raw).is_some_and(|len| raw.len() <= len) {
            fsevents::feed(key, number, raw, emit);
        } else if let Some((kind, problems)) = self.artefact(raw) {
            let mut native = Map::new();
            native.push("kind", kind.name);
            native.push("size", Value::Int(raw.len() as i64));
            emit(record(problems).event("artefact", native, None));
        } else {
            return false;
        }
        true
    }

    /// The kind of file that a record starts, or that it is a further piece of.
    fn artefact(&mut self, raw: &[u8]) -> Option<(artefact::Kind, Vec<Problem>)> {
        let begun = artefact::Kind::told_by(raw);
        let kind = begun.or(self.artefact.take())?;
        self.artefact = (raw.len() == split::PIECE && !kind.is_whole()).then_some(kind);
        Some((kind, begun.map(artefact::Kind::problem).into_iter().collect()))
    }

    /// A line as a row of a table, as the header of one, or as what it is by itself.
    fn text(&mut self, record: Record<'_>, text: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        if let Some(found) = android::tombstone(text) {
            return emit(record.told(found));
        }
        match self.table.take(record, text.trim_end_matches(['\r', '\n']), emit) {
            delimited::Taken::Here => {}
            delimited::Taken::Row(header) => self.header = Some(header),
            delimited::Taken::Not(record, held) => {
                if let Some(held) = held {
                    self.as_ever(&held, emit);
                }
                self.line(record, text, emit);
            }
        }
    }

    /// A first line that turned out to be no header, read as any other.
    fn as_ever(&mut self, held: &delimited::Held, emit: &mut dyn FnMut(Parsed<'_>)) {
        let problems = held.problems.clone();
        let record = Record { key: held.key, number: held.number, raw: &held.raw, received: held.received, problems };
        self.line(record, &held.text, emit);
    }

    fn line(&mut self, mut record: Record<'_>, text: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        let line = text.trim_ascii_end();
        match line.as_bytes().first() {
            Some(b'{') => return object(record, line, Some(&mut self.audit), emit),
            Some(b'[') if line.ends_with(']') && matches!(line.as_bytes().get(1), Some(b'{' | b'\n' | b'\r' | b' ')) => {
                return bundle_list(record, line, emit);
            }
            // Brackets in brackets are no log line; what a reader of it would choke on is said, and the line kept as it is.
            Some(b'[') if line.bytes().take_while(|byte| *byte == b'[').count() > json::DEPTH_MAX => {
                record.problems.extend(json::parse(line).1);
                return record.plain(line, emit);
            }
            Some(b'#') => {
                if let Some(found) = form::read(line, record.received) {
                    return self.told(record, found, emit);
                }
                if zeek::Header::directive(&mut self.zeek, line) || w3c::Header::directive(&mut self.w3c, line) {
                    return;
                }
            }
            Some(b'<') if winxml::may_be(line) => {
                if xml(&record, line, emit) {
                    return;
                }
            }
            Some(b't' | b'n') if auditd::is_record(line) => return self.audit.feed(record, line, "", emit),
            Some(b'_' | b'A'..=b'Z') if journald::is_entry(line) => return journald::feed(record, emit),
            Some(_) => {}
            None => return,
        }
        if let Some(header) = &self.zeek
            && let Some(native) = header.row(line)
        {
            let (decoder, time) = (header.decoder, native.get("ts").and_then(family::moment));
            return emit(record.event(decoder, native, time));
        }
        if let Some(row) = self.row(line) {
            return emit(record.told(row));
        }
        if let Some(header) = aws_text::FlowHeader::of(line) {
            self.flow = Some(header);
            self.header = Some(record.key);
            return;
        }
        if let Some(found) = form::read(line, record.received) {
            return self.told(record, found, emit);
        }
        if let Some(found) = application::read(line) {
            // A row without prose goes on in no other line.
            return match found.native.get("message") {
                Some(_) => self.lines.hold_told(record, found),
                None => emit(record.told(found)),
            };
        }
        if let Some(access) = web::access(line) {
            return emit(record.event("web.access", access.native, access.time));
        }
        match syslog::read(line, record.received) {
            Some(message) => self.syslog(record, message, emit),
            None => self.other(record, line, emit),
        }
    }

    /// A line told by its form: the event, the start of one that may go on, or what carries another.
    fn told(&mut self, record: Record<'_>, found: form::Line<'_>, emit: &mut dyn FnMut(Parsed<'_>)) {
        match found.decoder {
            "ios.sysdiagnose" | "glog" | host_text::SHELL => self.lines.hold_told(record, found),
            host_text::CONTAINER => {
                let (native, time) = (found.native, found.time);
                if let Some((record, native)) = carrier::read(record, native, time, Some(&mut self.audit), emit) {
                    emit(record.event(host_text::CONTAINER, native, time));
                }
            }
            _ => emit(record.told(found)),
        }
    }

    /// A row under directives of W3C's format, or under a header of flow logs.
    fn row<'l>(&self, line: &'l str) -> Option<form::Line<'l>> {
        let row = self.w3c.as_ref().and_then(|header| header.row(line));
        row.or_else(|| self.flow.as_ref().and_then(|header| header.row(line)))
    }

    fn other(&mut self, record: Record<'_>, line: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        if let Some(error) = web::error(line) {
            return emit(record.event("web.error", error.native, error.time));
        }
        match kv::read(line, record.received) {
            Some(found) => emit(record.told(found)),
            None => self.plain(record, line, emit),
        }
    }

    /// A line of no known shape; a dated one waits for lines that go on from it.
    fn plain(&mut self, record: Record<'_>, line: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        match dated(line) {
            Some(time) => self.lines.hold(record, line, time),
            None => record.plain(line, emit),
        }
    }

    /// A syslog message; one that carries another source's record whole is read as that source, with the envelope under `syslog`.
    fn syslog(&mut self, record: Record<'_>, message: syslog::Message<'_>, emit: &mut dyn FnMut(Parsed<'_>)) {
        let body = message.body.trim_ascii_end();
        if auditd::is_record(body) {
            return self.audit.feed(record, body, message.hostname, emit);
        }
        let inner = body.strip_prefix("@cee:").unwrap_or(body).trim_ascii_start();
        if inner.starts_with('{')
            && let (Value::Map(mut native), problems) = json::parse(inner)
            && problems.is_empty()
        {
            let family = family::tell(&native);
            if family.decoder != "json" {
                native.push("syslog", message.native);
                let time = family.time.or(message.time);
                let mut parsed = record.event(family.decoder, native, time);
                parsed.head = family.head;
                return emit(parsed);
            }
        }
        if winxml::may_be(body) {
            let mut envelope = message.native.clone();
            envelope.0.retain(|(name, _)| name != "message");
            let read = xml(&record, body, &mut |parsed| {
                // Lives no longer than the envelope now.
                let mut parsed: Parsed<'_> = parsed;
                parsed.native.push("syslog", envelope.clone());
                parsed.time = parsed.time.or(message.time);
                emit(parsed);
            });
            if read {
                return;
            }
        }
        // What a known program wrote is more than its pairs.
        if message.native.get("parsed").is_none()
            && let Some(mut found) = haproxy::read(body).or_else(|| kv::read(body, record.received))
        {
            let mut envelope = message.native;
            envelope.0.retain(|(name, _)| name != "message");
            found.native.push("syslog", envelope);
            found.time = found.time.or(message.time);
            return emit(record.told(found));
        }
        emit(record.event(message.decoder, message.native, message.time));
    }
}

/// One raw record while it is being read.
#[derive(Clone)]
pub(crate) struct Record<'a> {
    pub(crate) key: u64,
    pub(crate) number: u64,
    pub(crate) raw: &'a [u8],
    pub(crate) received: Timestamp,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Record<'a> {
    pub(crate) fn event<'b>(self, decoder: &'static str, native: Map<'b>, time: Option<EventTime>) -> Parsed<'b>
    where
        'a: 'b,
    {
        Parsed {
            records: vec![self.key],
            part: 0,
            number: self.number,
            raw: Cow::Borrowed(self.raw),
            decoder,
            native,
            time,
            head: None,
            problems: self.problems,
        }
    }

    /// The event of a line that was told by its form.
    pub(crate) fn told<'b>(mut self, line: form::Line<'b>) -> Parsed<'b>
    where
        'a: 'b,
    {
        self.problems.extend(line.problems);
        self.event(line.decoder, line.native, line.time)
    }

    /// A line of no known shape: its text, and its time if it starts with one.
    fn plain(self, line: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        let mut native = Map::new();
        if is_binary(line) {
            let mut record = self;
            let detail = Cow::Borrowed("neither text nor a format read here");
            record.problems.push(Problem { code: "unknown.binary", offset: 0, detail });
            native.push("size", Value::Int(record.raw.len() as i64));
            return emit(record.event("unknown", native, None));
        }
        native.push("message", line);
        emit(self.event("text", native, dated(line)));
    }
}

/// The time a line of text starts with.
fn dated(line: &str) -> Option<EventTime> {
    crate::time::stamp(line.trim_start_matches('[')).filter(|_| !is_binary(line)).map(|stamp| stamp.time)
}

fn is_binary(line: &str) -> bool {
    let controls = line.bytes().take(512).filter(|byte| *byte < 0x09 || (0x0E..0x1B).contains(byte)).count();
    controls * 8 > line.len().min(512)
}

/// A JSON object, or a bundle of events that is one object. Without `audit`, audit records inside are not joined.
fn object(mut record: Record<'_>, text: &str, audit: Option<&mut auditd::Joiner>, emit: &mut dyn FnMut(Parsed<'_>)) {
    let (value, problems) = json::parse(text);
    record.problems.extend(problems);
    let Value::Map(native) = value else { return record.plain(text, emit) };
    if native.len() <= 12
        && let Some(list) = bundle(&native)
    {
        return elements(record, text, list, emit);
    }
    if otlp::is_json(&native) {
        let log = otlp::of_json(native);
        return open(record, log.native, Around { decoder: "otlp", time: log.time, audit }, emit);
    }
    open(record, native, Around { decoder: "json", time: None, audit }, emit);
}

/// What is known of an object before it is looked at.
struct Around<'d> {
    /// What it is if it is nothing else.
    decoder: &'static str,
    /// When it happened, as the protocol says.
    time: Option<EventTime>,
    audit: Option<&'d mut auditd::Joiner>,
}

/// An object as the event that it is, or that it carries.
fn open<'b>(record: Record<'b>, native: Map<'b>, around: Around<'_>, emit: &mut dyn FnMut(Parsed<'_>)) {
    if let Some((native, time)) = auditd::structured(&native) {
        return emit(record.event("auditd", native, Some(time)));
    }
    let native = exported::named(family::nested(native));
    let mut family = family::tell(&native);
    if let Some(path) = cloud::several(family.decoder)
        && let Some(items) = cloud::items(&native, path)
    {
        return parts(&record, &native, (path, items), &family, emit);
    }
    if family.decoder != "json" {
        return emit(finish(record, native, family));
    }
    family.time = family.time.or(around.time);
    let Some((record, native)) = carrier::read(record, native, family.time, around.audit, emit) else { return };
    family.decoder = around.decoder;
    emit(finish(record, native, family));
}

/// A document that tells of several things done at once: an event for each, which share all the rest.
fn parts<'b>(
    record: &Record<'b>,
    native: &Map<'b>,
    (path, items): (&[&str], &[Value<'b>]),
    family: &family::Family<'b>,
    emit: &mut dyn FnMut(Parsed<'_>),
) {
    for (part, item) in (0..).zip(items) {
        let own = family::Family { decoder: family.decoder, head: None, time: family.time };
        let mut parsed = finish(record.clone(), cloud::with_only(native, path, item), own);
        parsed.part = part;
        emit(parsed);
    }
}

/// An object as the event that it is.
pub(crate) fn told<'b>(record: Record<'b>, native: Map<'b>) -> Parsed<'b> {
    let native = exported::named(family::nested(native));
    let family = family::tell(&native);
    finish(record, native, family)
}

/// The event of an object whose family is told.
pub(crate) fn finish<'b>(mut record: Record<'b>, mut native: Map<'b>, mut family: family::Family<'b>) -> Parsed<'b> {
    if family.decoder == "journald" {
        match journald::carried(&native) {
            Some(event) => {
                family = family::Family { decoder: "xml.evtx", ..family::tell(&event) };
                native = event;
            }
            None => journald::read_message(&mut native),
        }
    }
    if family.time.is_none() && family::claims_time(&native) {
        let detail = Cow::Borrowed("its time is in no known form or names a moment that does not exist");
        record.problems.push(Problem { code: "time.unreadable", offset: 0, detail });
    }
    let mut parsed = record.event(family.decoder, native, family.time);
    parsed.head = family.head;
    parsed
}

/// The name of the list that makes an object a bundle of events.
fn bundle(map: &Map<'_>) -> Option<&'static str> {
    const NAMES: [&str; 5] = ["Records", "records", "logEvents", "Events", "events"];
    let is_list = |name: &&str| {
        let Some(Value::List(items)) = map.get(name) else { return false };
        !items.is_empty() && items.iter().all(|item| item.as_map().is_some_and(|map| map.len() > 1))
    };
    if let Some(found) = cloud::hits(map) {
        return Some(found);
    }
    let found = NAMES.into_iter().chain(cloud::bundle(map)).find(is_list)?;
    (found != "events" || !cloud::is_workspace(map)).then_some(found)
}

/// The events of the list `name` in the object `text`, each with its own bytes.
fn elements(record: Record<'_>, text: &str, name: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
    let quoted = format!("\"{name}\"");
    let list = text.find(&quoted).and_then(|at| Some(at + text[at..].find('[')?));
    match list {
        Some(at) => bundle_list(record, &text[at..], emit),
        None => record.plain(text, emit),
    }
}

/// Windows events as XML, as parts of one record if there are several; false if there is none.
fn xml(record: &Record<'_>, text: &str, emit: &mut dyn FnMut(Parsed<'_>)) -> bool {
    let mut part = 0;
    for event in winxml::read(text) {
        let problems = if part == 0 { record.problems.clone() } else { Vec::new() };
        let mut piece = Record { raw: event.text.as_bytes(), problems, ..*record };
        piece.problems.extend(event.problems);
        let mut family = family::tell(&event.native);
        family.decoder = "xml.evtx";
        let mut parsed = finish(piece, event.native, family);
        parsed.part = part;
        part += 1;
        emit(parsed);
    }
    part > 0
}

/// The elements of the JSON list that `text` starts with, as parts of one record.
fn bundle_list(mut record: Record<'_>, text: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
    let (bytes, mut at, mut part) = (text.as_bytes(), 1, 0);
    let mut problems = std::mem::take(&mut record.problems);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => {
                let json::Extent::Whole(len) = json::extent(&bytes[at..]) else { break };
                let element = &text[at..at + len];
                let piece = Record { raw: element.as_bytes(), problems: std::mem::take(&mut problems), ..record };
                object(piece, element, None, &mut |mut parsed| {
                    parsed.part = part;
                    part += 1;
                    emit(parsed);
                });
                at += len;
            }
            b']' => break,
            _ => at += 1,
        }
    }
    if part == 0 {
        record.problems = problems;
        record.plain(text, emit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<(String, String, Vec<&'static str>)> {
        let mut decoder = Decoder::new(Hint::default());
        let mut seen = Vec::new();
        let mut emit = |parsed: Parsed<'_>| {
            let native = serde_json::to_string(&parsed.native).expect("native fields serialise");
            seen.push((parsed.decoder.to_owned(), native, parsed.problems.iter().map(|problem| problem.code).collect()));
        };
        for (index, line) in lines.iter().enumerate() {
            let number = index as u64 + 1;
            decoder.feed(number, number, line.as_bytes(), Timestamp::UNIX_EPOCH, &mut emit);
        }
        decoder.flush(&mut emit);
        seen
    }

    #[test]
    fn names_are_listed_once() {
        let mut names = DECODERS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DECODERS.len());
    }

    #[test]
    fn bundles_give_parts() {
        let seen = read(&[r#"{"Records":[{"eventSource":"s3","eventName":"Get"},{"eventSource":"iam","eventName":"Put"}]}"#]);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1], ("aws.cloudtrail".into(), r#"{"eventSource":"iam","eventName":"Put"}"#.into(), vec![]));
    }

    #[test]
    fn a_message_that_holds_an_event_is_that_event() {
        let seen = read(&[r#"{"timestamp":1,"message":"{\"eventSource\":\"s3\",\"eventName\":\"Get\"}"}"#]);
        assert_eq!(seen[0].0, "aws.cloudtrail");
    }

    #[test]
    fn packed_records_are_told_by_their_form() {
        let mut decoder = Decoder::new(Hint::default());
        let mut seen = Vec::new();
        let mut feed = |raw: &[u8]| {
            decoder.feed(1, 1, raw, Timestamp::UNIX_EPOCH, &mut |parsed| {
                let native = serde_json::to_string(&parsed.native).expect("native fields serialise");
                seen.push((parsed.decoder, parsed.time.map(|time| time.at.to_string()), native));
            });
        };
        feed(b"\x92\xce\x69\x5b\x7f\x3c\x82\xa3log\xa4door\xa1n\x05");
        feed(b"\x92\xce\x69\x5b\x7f\x3c\x82\xa3log\xd9\x36<38>Jan  5 09:08:11 gate sshd[911]: Connection closed\n\xa6stream\xa3out");
        feed(b"\x09\x15\xa5\x8b\x7e\x8e\xca\x87\x18\x2a\x06\x0a\x04door");
        feed(b"\x92\xce\x69\x5b\x7f\x3c\x82\xa3log");
        let at = |text: &str| Some(text.to_owned());
        assert_eq!(seen[0], ("fluent", at("2026-01-05T09:07:08Z"), r#"{"log":"door","n":5}"#.into()));
        assert_eq!((seen[1].0, seen[1].2.ends_with(r#""shipper":{"stream":"out"}}"#)), ("syslog.3164", true), "{:?}", seen[1]);
        assert_eq!(seen[2].0, "otlp", "{:?}", seen[2]);
        assert_eq!(seen[3].0, "text", "cut short");
    }

    #[test]
    fn a_header_is_named_once_and_read_again() {
        let lines = ["timestamp,user,host", "2026-11-20T08:00:00Z,mara,door", "2026-11-20T08:00:01Z,quist,gate"];
        let mut decoder = Decoder::new(Hint::default());
        let feed = |decoder: &mut Decoder, at: usize| {
            let mut seen = Vec::new();
            decoder.feed(at as u64 + 7, 1, lines[at].as_bytes(), Timestamp::UNIX_EPOCH, &mut |parsed| seen.push(parsed.decoder));
            (seen, decoder.header())
        };
        let seen = [0, 1, 2].map(|at| feed(&mut decoder, at));
        assert_eq!(seen, [(vec![], None), (vec!["csv"], Some(7)), (vec!["csv"], None)]);
        let mut restarted = Decoder::new(Hint::default());
        let seen = [0, 2].map(|at| feed(&mut restarted, at));
        assert_eq!(seen, [(vec![], None), (vec!["csv"], Some(7))]);
        let mut flows = Decoder::new(Hint::default());
        flows.feed(3, 1, b"version srcaddr dstaddr action", Timestamp::UNIX_EPOCH, &mut |_| {});
        assert_eq!((flows.header(), flows.header()), (Some(3), None));
    }

    #[test]
    fn a_first_line_that_only_looks_like_a_header_is_text() {
        for lines in [&["timestamp,user,host"][..], &["timestamp,user,host", "and then a sentence"]] {
            let seen = read(lines);
            assert_eq!(seen.iter().map(|(decoder, ..)| decoder.as_str()).collect::<Vec<_>>(), vec!["text"; lines.len()]);
            assert_eq!(seen[0].1, r#"{"message":"timestamp,user,host"}"#);
        }
    }

    #[test]
    fn a_shipper_may_carry_any_of_these_lines() {
        let seen = read(&[r#"{"message":"CEF:0|V|P|1|7|n|5|src=192.0.2.1","host":"gate"}"#]);
        assert_eq!((seen[0].0.as_str(), seen[0].1.ends_with(r#""shipper":{"host":"gate"}}"#)), ("cef", true), "{:?}", seen[0]);
    }

    #[test]
    fn pieces_of_a_known_file_belong_to_it() {
        let mut decoder = Decoder::new(Hint::default());
        let mut first = b"SQLite format 3\0".to_vec();
        first.resize(split::PIECE, 7);
        let mut seen = Vec::new();
        for raw in [&first[..], &first[16..], b"a short end", b"a line after it"] {
            decoder.feed(1, 1, raw, Timestamp::UNIX_EPOCH, &mut |parsed| seen.push((parsed.decoder, parsed.problems.len())));
        }
        // What is shorter than a piece ends the file.
        assert_eq!(seen, [("artefact", 1), ("artefact", 0), ("text", 0), ("text", 0)]);
    }

    #[test]
    fn a_cut_object_keeps_its_part() {
        let seen = read(&[r#"{"a":1,"b":{"c":"d"#]);
        assert_eq!(seen, [("json".into(), r#"{"a":1,"b":{"c":"d"}}"#.into(), vec!["json.truncated"])]);
    }
}
