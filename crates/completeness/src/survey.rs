//! How a statement is made: the record and the audit ledger are read once, and everything is counted from what lies there.
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use reeve_ledger::{Ledger, SealedSegment, StoredRecord, VerifierKey};
use reeve_record::{RecordId, Transport};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    CONTRADICTIONS, Down, Head, LedgerLine, ListenerLine, Missing, Notice, ServerLine, SourceLine, Span, Statement, Under,
    law::Numbers, receipt::head_in, scan,
};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Pattern of the sources' names: `*` is any text, `?` one character.
    pub source: String,
    /// Records received at or after this.
    pub from: Option<Timestamp>,
    /// Records received before this.
    pub to: Option<Timestamp>,
    /// Whether a source that fits may number its records; without, segments outside of this time need not be read.
    pub numbered: bool,
}

impl Query {
    fn covers(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.is_before_end(at)
    }

    fn is_before_end(&self, at: Timestamp) -> bool {
        self.to.is_none_or(|to| at < to)
    }

    /// The part of a stretch of time that was asked for.
    fn clip(&self, from: Timestamp, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = (self.from.map_or(from, |bound| bound.max(from)), self.to.map_or(to, |bound| bound.min(to)));
        (from < to).then_some((from, to))
    }
}

/// What the reading adds.
#[derive(Clone, Debug)]
pub struct Reading {
    /// It has come to this record.
    pub through: RecordId,
    /// Events that are nothing but text or bytes, of records received in the time asked for, by source.
    pub unparsed: BTreeMap<String, u64>,
}

/// Makes the statement. Reads both ledgers; `audit` has the acts of the server.
pub fn survey(record: &Ledger, audit: &Ledger, query: &Query, reading: Option<&Reading>) -> Statement {
    let (made, end) = (record.now(), record.durable_end());
    let checkpoint = record.last_checkpoint();
    let sealed = record.sealed_segments();
    let unsealed = record.status().open_records;
    let mut survey =
        Survey { query, made, sources: BTreeMap::new(), pending: None, last: None, blind: 0, ledger: LedgerLine::default() };
    survey.read(record, end, &sealed);
    let acts = Acts::read(audit, query);
    let (sources, left_out) = survey.finish(&acts, reading);
    Statement {
        source: query.source.clone(),
        from: query.from,
        to: query.to,
        made,
        end,
        checkpoint: checkpoint.map(|last| Under { size: last.size, root: STANDARD.encode(last.root), at: last.at }),
        unsealed,
        read_through: reading.map(|reading| reading.through),
        sources,
        sources_left_out: left_out,
        ledger: survey.ledger,
        server: acts.server,
        listeners: acts.listeners.into_values().collect(),
    }
}

/// What is counted while the record is read.
struct Survey<'q> {
    query: &'q Query,
    made: Timestamp,
    sources: BTreeMap<String, Source>,
    /// The delivery whose records are coming.
    pending: Option<Pending>,
    /// When the record before was received.
    last: Option<Timestamp>,
    /// Segments so far whose records are gone or cannot be read.
    blind: u64,
    ledger: LedgerLine,
}

#[derive(Default)]
struct Source {
    line: SourceLine,
    numbering: Option<Numbering>,
}

/// What a numbered source said and did.
#[derive(Default)]
struct Numbering {
    key: Option<VerifierKey>,
    heartbeat: Option<SignedDuration>,
    /// When it was registered or heard last.
    heard: Option<Timestamp>,
    silences: Vec<Span>,
    epochs: BTreeMap<u64, Epoch>,
}

#[derive(Default)]
struct Epoch {
    there: Numbers,
    late: Numbers,
    /// Numbers that deliveries in segments that are gone may have had.
    unknown: Numbers,
    /// [`Survey::blind`] when it was heard last.
    blind: u64,
    frontier: u64,
    /// The frontier when the time asked for began, and when it ended.
    from: u64,
    to: u64,
    /// Whether it was heard in that time.
    heard: bool,
}

/// A delivery, while its records are looked at.
struct Pending {
    head: Head,
    id: RecordId,
    signed: bool,
    /// Records seen, as numbers.
    seen: Numbers,
    body: Sha256,
    counted: u64,
    next: u32,
}

impl Survey<'_> {
    fn read(&mut self, record: &Ledger, end: RecordId, sealed: &[SealedSegment]) {
        for segment in 0..=end.segment {
            let first = RecordId { segment, index: 0 };
            let statement = sealed.get(segment as usize);
            let of_time = statement.is_none_or(|statement| self.overlaps(statement));
            if !of_time && !self.query.numbered {
                continue;
            }
            let until = statement.map_or(end, |statement| RecordId { segment, index: statement.records });
            let (mut count, mut highest) = (0, 0);
            let unreadable = scan::each(record, first, until.min(RecordId { segment, index: u32::MAX }), |record| {
                (count, highest) = (count + 1, record.id.index + 1);
                self.take(record, sealed);
                true
            });
            self.settle(sealed);
            let gone = statement.is_some_and(|statement| count == 0 && statement.lost < statement.records);
            self.blind += u64::from(gone || unreadable > 0);
            if of_time {
                self.ledger.unreadable_segments += unreadable;
            }
            if of_time && unreadable == 0 {
                let (lost, all) = statement.map_or((highest - count, highest), |statement| (statement.lost, statement.records));
                self.ledger.lost += u64::from(lost);
                self.ledger.removed += u64::from(all.saturating_sub(lost + count));
            }
        }
    }

    fn overlaps(&self, segment: &SealedSegment) -> bool {
        let (first, last) = segment.received;
        segment.lost == segment.records || (self.query.is_before_end(first) && self.query.from.is_none_or(|from| from <= last))
    }

    fn take(&mut self, record: &StoredRecord, sealed: &[SealedSegment]) {
        let receipt = &record.receipt;
        let in_time = self.query.covers(receipt.received_at);
        if in_time {
            let stepped = self.last.is_some_and(|last| last.duration_since(receipt.received_at) > SECOND);
            self.ledger.clock_steps += u64::from(stepped);
            self.last = Some(receipt.received_at);
        }
        if receipt.transport == Transport::Internal {
            self.settle(sealed);
            return self.take_internal(record, in_time);
        }
        let follows = self.pending.as_mut().is_some_and(|pending| pending.take(record));
        if !follows {
            self.settle(sealed);
        }
        if in_time && !receipt.source.starts_with(CONTRADICTIONS) && fits(&self.query.source, &receipt.source) {
            self.count(record);
        }
    }

    /// Counts a record received in time.
    fn count(&mut self, record: &StoredRecord) {
        let receipt = &record.receipt;
        let source = self.source(&receipt.source);
        let line = &mut source.line;
        line.received += 1;
        line.grade = line.grade.max(Some(receipt.transport.grade()));
        line.first_received = Some(line.first_received.map_or(receipt.received_at, |first| first.min(receipt.received_at)));
        line.last_received = line.last_received.max(Some(receipt.received_at));
        if let Some(claimed) = receipt.claimed {
            line.late += u64::from(receipt.received_at.duration_since(claimed.at) > LATE);
            line.clock_ahead += u64::from(claimed.at.duration_since(receipt.received_at) > AHEAD);
        }
    }

    fn source(&mut self, name: &str) -> &mut Source {
        if !self.sources.contains_key(name) {
            let line = SourceLine { source: name.to_owned(), ..SourceLine::default() };
            self.sources.insert(name.to_owned(), Source { line, numbering: None });
        }
        self.sources.entry(name.to_owned()).or_default()
    }

    fn take_internal(&mut self, record: &StoredRecord, in_time: bool) {
        if let Some(head) = head_in(record) {
            if fits(&self.query.source, &head.source) {
                self.take_head(head, record, in_time);
            }
        } else if let Some(notice) = Notice::of(record).filter(|notice| fits(&self.query.source, notice.source())) {
            self.take_notice(&notice, record.receipt.received_at, in_time);
        }
    }

    fn take_notice(&mut self, notice: &Notice, at: Timestamp, in_time: bool) {
        if !self.query.is_before_end(at) {
            return;
        }
        let source = self.source(notice.source());
        match notice {
            Notice::Source { key, heartbeat_seconds, .. } => {
                let numbering = source.numbering.get_or_insert_default();
                numbering.key = VerifierKey::parse(key).ok();
                numbering.heartbeat =
                    heartbeat_seconds.and_then(|seconds| i64::try_from(seconds).ok()).map(SignedDuration::from_secs);
                numbering.heard.get_or_insert(at);
            }
            Notice::Contradiction { count, .. } if in_time => source.line.contradicting += count,
            Notice::Contradiction { .. } | Notice::Gap { .. } | Notice::Silence { .. } => {}
        }
    }

    fn take_head(&mut self, head: Head, record: &StoredRecord, in_time: bool) {
        let at = record.receipt.received_at;
        let (query, blind) = (self.query, self.blind);
        let source = self.source(&head.source);
        let numbering = source.numbering.get_or_insert_default();
        numbering.hear(at, query);
        let note = std::str::from_utf8(&record.raw).unwrap_or_default();
        // The registration may have lain in a segment that is gone; then the signature cannot be checked here.
        let signed = numbering.key.as_ref().map_or(blind > 0, |key| Head::open(note, key).is_ok());
        if in_time && head.sent.duration_since(at) > AHEAD {
            source.line.clock_ahead += head.count;
        }
        let epoch = numbering.epochs.entry(head.epoch).or_default();
        epoch.heard |= in_time;
        if std::mem::replace(&mut epoch.blind, blind) != blind {
            // Whether these were ever sent only the segments could say that are not there any more.
            epoch.unknown.add(epoch.frontier, head.first.max(epoch.frontier));
        }
        if head.first < epoch.frontier {
            epoch.late.add(head.first, head.end());
        }
        epoch.frontier = epoch.frontier.max(head.end());
        if query.is_before_end(at) {
            epoch.to = epoch.to.max(head.end());
            if !in_time {
                epoch.from = epoch.from.max(head.end());
            }
        }
        let (id, next) = (record.id, record.id.index + 1);
        self.pending = Some(Pending { head, id, signed, seen: Numbers::default(), body: Sha256::new(), counted: 0, next });
    }

    /// The delivery whose records came is over: what of it is there counts.
    fn settle(&mut self, sealed: &[SealedSegment]) {
        let Some(pending) = self.pending.take() else { return };
        let Some(numbering) = self.sources.get_mut(&pending.head.source) else { return };
        let Some(epoch) = numbering.numbering.as_mut().and_then(|numbering| numbering.epochs.get_mut(&pending.head.epoch)) else {
            return;
        };
        let (first, end) = (pending.head.first, pending.head.end());
        let whole = pending.counted == pending.head.count;
        let hash: reeve_record::Hash = pending.body.finalize().into();
        if !pending.signed || (whole && hash != pending.head.body_hash) {
            numbering.line.unproven += pending.head.count;
            return;
        }
        // What was redacted had been received; what was lost is missing.
        let lost = sealed.get(pending.id.segment as usize).is_none_or(|segment| segment.lost > 0);
        if whole || !lost {
            epoch.there.add(first, end);
        } else {
            for number in (first..end).filter(|number| pending.seen.within(*number, number + 1) == 1) {
                epoch.there.add(number, number + 1);
            }
        }
    }

    fn finish(&mut self, acts: &Acts, reading: Option<&Reading>) -> (Vec<SourceLine>, u64) {
        let sources = std::mem::take(&mut self.sources);
        let mut lines: Vec<SourceLine> = sources.into_values().map(|source| self.line(source)).collect();
        for name in acts.sources.keys() {
            if let Err(place) = lines.binary_search_by(|line| line.source.cmp(name)) {
                lines.insert(place, SourceLine { source: name.clone(), ..SourceLine::default() });
            }
        }
        let left_out = lines.len().saturating_sub(SOURCES_MAX) as u64;
        lines.truncate(SOURCES_MAX);
        for line in &mut lines {
            if let Some(losses) = acts.sources.get(&line.source) {
                (line.dropped, line.refused, line.problems) =
                    (losses.dropped.clone(), losses.refused.clone(), losses.problems.clone());
                line.duplicates = line.problems.get("duplicate").copied().unwrap_or(0);
            }
            line.unparsed = reading.map(|reading| reading.unparsed.get(&line.source).copied().unwrap_or(0));
        }
        (lines, left_out)
    }

    fn line(&self, source: Source) -> SourceLine {
        let Source { mut line, numbering } = source;
        let Some(mut numbering) = numbering else { return line };
        let until = self.query.to.map_or(self.made, |to| to.min(self.made));
        numbering.hear(until, self.query);
        line.numbered = true;
        line.silences = numbering.silences;
        (line.received, line.late) = (0, 0);
        let (mut expected, mut missing) = (0, 0);
        for (number, epoch) in &numbering.epochs {
            let (first, end) = (epoch.from, epoch.to.max(epoch.from));
            let mut known = epoch.there.clone();
            epoch.unknown.each(|first, end| _ = known.add(first, end));
            let (received, told) = (epoch.there.within(first, end), known.within(first, end));
            expected += end - first - (told - received);
            line.removed += told - received;
            line.received += received;
            line.late += epoch.late.within(first, end).min(received);
            for (first, count) in known.missing(first, end) {
                missing += count;
                if line.missing_numbers.len() < MISSING_MAX {
                    line.missing_numbers.push(Missing { epoch: *number, first, count });
                }
            }
        }
        let last = numbering.epochs.last_key_value().map(|(number, _)| *number);
        line.unknown_tails =
            numbering.epochs.iter().filter(|(number, epoch)| epoch.heard && Some(**number) != last).count() as u64;
        (line.expected, line.missing) = (Some(expected), Some(missing));
        line
    }
}

impl Numbering {
    /// Notes that the source was heard, and the silence before it if that was too long.
    fn hear(&mut self, at: Timestamp, query: &Query) {
        if let (Some(before), Some(heartbeat)) = (self.heard, self.heartbeat)
            && at.duration_since(before) > heartbeat.saturating_mul(2)
            && let Some((from, to)) = query.clip(before, at)
            && self.silences.len() < SILENCES_MAX
        {
            self.silences.push(Span { from, to });
        }
        self.heard = self.heard.max(Some(at));
    }
}

impl Pending {
    /// Whether the record is one of this delivery; counts it then.
    fn take(&mut self, record: &StoredRecord) -> bool {
        let last = u64::from(self.id.index) + self.head.count;
        let of_it = record.id.segment == self.id.segment
            && record.id.index >= self.next
            && u64::from(record.id.index) <= last
            && record.receipt.transport == Transport::Delivery
            && *record.receipt.source == self.head.source;
        if of_it {
            let number = self.head.first + u64::from(record.id.index - self.id.index) - 1;
            self.seen.add(number, number + 1);
            self.body.update(&record.raw);
            self.body.update(b"\n");
            self.counted += 1;
            self.next = record.id.index + 1;
        }
        of_it
    }
}

/// The server's own acts in the time asked for.
#[derive(Default)]
struct Acts {
    server: ServerLine,
    sources: BTreeMap<String, Losses>,
    listeners: BTreeMap<String, ListenerLine>,
}

#[derive(Default)]
struct Losses {
    dropped: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    problems: BTreeMap<String, u64>,
}

/// An act of the server in the audit ledger.
#[derive(Deserialize)]
struct Act {
    act: String,
    at: Timestamp,
    #[serde(default)]
    detail: serde_json::Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Lost {
    sources: Vec<LostLine>,
    listeners: Vec<LostLine>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LostLine {
    source: String,
    listener: String,
    dropped: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    problems: BTreeMap<String, u64>,
}

impl Acts {
    fn read(audit: &Ledger, query: &Query) -> Self {
        let mut acts = Self::default();
        let mut stopped = None;
        scan::each(audit, RecordId::default(), audit.durable_end(), |record| {
            if record.receipt.transport != Transport::Internal || !is_act_of_server(&record.raw) {
                return true;
            }
            let Ok(act) = serde_json::from_slice::<Act>(&record.raw) else { return true };
            match &*act.act {
                "server_stop" => stopped = Some(act.at),
                "server_start" => acts.start(&act, stopped.take(), query),
                "intake_losses" if query.covers(act.at) => acts.lose(act.detail, query),
                _ => {}
            }
            true
        });
        acts
    }

    fn start(&mut self, act: &Act, stopped: Option<Timestamp>, query: &Query) {
        self.server.starts += u64::from(query.covers(act.at));
        let alive = act.detail["alive"].as_str().and_then(|at| at.parse().ok());
        let Some(from) = stopped.or(alive) else { return };
        if let Some((from, to)) = query.clip(from, act.at).filter(|_| self.server.down.len() < DOWN_MAX) {
            self.server.down.push(Down { from, to, clean: stopped.is_some() });
        }
    }

    fn lose(&mut self, detail: serde_json::Value, query: &Query) {
        let Ok(lost) = serde_json::from_value::<Lost>(detail) else { return };
        for line in lost.sources.into_iter().filter(|line| fits(&query.source, &line.source)) {
            let losses = self.sources.entry(line.source).or_default();
            add(&mut losses.dropped, line.dropped);
            add(&mut losses.refused, line.refused);
            add(&mut losses.problems, line.problems);
        }
        for line in lost.listeners {
            let listener = self.listeners.entry(line.listener.clone()).or_default();
            listener.listener = line.listener;
            add(&mut listener.dropped, line.dropped);
            add(&mut listener.refused, line.refused);
        }
    }
}

/// Cheap, before a record of many is parsed.
fn is_act_of_server(raw: &[u8]) -> bool {
    [&b"{\"act\":\"server_"[..], b"{\"act\":\"intake_"].iter().any(|act| raw.starts_with(act))
}

fn add(sum: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    for (reason, times) in more {
        let count = sum.entry(reason).or_default();
        *count = count.saturating_add(times);
    }
}

/// Whether a name fits a pattern of `*` and `?`.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last star stood, and how much of the name it stands for so far.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(have) if *have == '?' || *have == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// Claimed so long before its receipt, a record is late.
const LATE: SignedDuration = SignedDuration::from_secs(300);
/// Claimed so long after its receipt, its source's clock is ahead.
const AHEAD: SignedDuration = SignedDuration::from_secs(5);
const SOURCES_MAX: usize = 1000;
const MISSING_MAX: usize = 100;
const SILENCES_MAX: usize = 100;
const DOWN_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, name, does) in [
            ("*", "", true),
            ("*", "a/b", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("*b", "abc", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdef", false),
            ("?b", "ab", true),
            ("?", "", false),
            ("*ab", "aab", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, name), does, "`{pattern}` on `{name}`");
        }
    }
}
