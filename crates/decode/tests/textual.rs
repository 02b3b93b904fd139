//! Login records, IIS logs, AWS flows and tables against what other programs read out of the same files. Each test prints its rate.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where it is wrong and says what it skipped")]
mod shared;

use serde_json::Value;
use shared::{Collected, Seen};

/// Compares what the expectation names with what was read; prints and returns how many there were and how many are equal.
struct Tally {
    what: &'static str,
    values: usize,
    different: Vec<String>,
}

impl Tally {
    fn new(what: &'static str) -> Self {
        Self { what, values: 0, different: Vec::new() }
    }

    fn compare(&mut self, name: &str, ours: &Value, theirs: &Value) {
        self.values += 1;
        if plain(ours) != plain(theirs) {
            self.different.push(format!("{name}: ours {ours}, theirs {theirs}"));
        }
    }

    fn settle(self, least: usize) {
        println!("{}: {} of {} values equal", self.what, self.values - self.different.len(), self.values);
        assert!(self.different.is_empty(), "{:#?}", self.different);
        assert!(self.values >= least, "only {} values were compared", self.values);
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn events(read: &Collected) -> Vec<&Seen> {
    read.all().map(|(_, event)| event).collect()
}

fn expected(folder: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).expect("it reads")).expect("JSON")
}

/// A time as plaso writes it, to the microsecond.
fn micros(event: &Seen) -> Option<i64> {
    event.time.map(|time| time.at.as_microsecond())
}

#[test]
fn login_records_against_plaso() {
    let Some(folder) = shared::data("linux/plaso") else { return };
    let (expected, mut tally) = (expected(&folder), Tally::new("plaso's login records"));
    for file in ["utmp/utmp", "utmp/wtmp.1"] {
        let read = shared::read(&folder.join(file));
        let found = events(&read);
        let found: Vec<_> = found.into_iter().filter(|event| event.decoder == "utmp").collect();
        let want = &expected[file][0];
        tally.compare("events", &Value::from(found.len()), &want["counts"]["event_data"]);
        for case in want["events"].as_array().into_iter().flatten() {
            let event = found[case["event_data_index"].as_u64().unwrap_or(0) as usize];
            let values = &case["values"];
            for (theirs, ours) in [("pid", "pid"), ("username", "user"), ("terminal", "line")] {
                tally.compare(theirs, &event.native[ours], &values[theirs]);
            }
            // plaso writes `localhost` and 0.0.0.0 where the record has nothing.
            if values["ip_address"] != "0.0.0.0" {
                tally.compare("hostname", &event.native["host"], &values["hostname"]);
                tally.compare("ip_address", &event.native["address"], &values["ip_address"]);
            }
            let written: jiff::Timestamp = plain(&values["written_time"]).parse().expect("a time");
            tally.compare("written_time", &micros(event).into(), &written.as_microsecond().into());
        }
    }
    tally.settle(12);
}

#[test]
fn iis_logs_against_plaso() {
    let Some(folder) = shared::data("windows/plaso") else { return };
    let (expected, mut tally) = (expected(&folder), Tally::new("plaso's IIS lines"));
    for file in ["iis/iis6.log", "iis/iis7_sqli.log"] {
        let read = shared::read(&folder.join(file));
        let found: Vec<_> = events(&read).into_iter().filter(|event| event.decoder == "web.iis").collect();
        let want = &expected[file][0];
        tally.compare("events", &Value::from(found.len()), &want["counts"]["event_data"]);
        for case in want["events"].as_array().into_iter().flatten() {
            let event = found[case["event_data_index"].as_u64().unwrap_or(0) as usize];
            let values = &case["values"];
            for (theirs, ours) in [
                ("dest_ip", "s-ip"),
                ("dest_port", "s-port"),
                ("http_method", "cs-method"),
                ("http_status", "sc-status"),
                ("requested_uri_stem", "cs-uri-stem"),
                ("source_ip", "c-ip"),
                ("user_agent", "cs(User-Agent)"),
            ] {
                tally.compare(theirs, &event.native[ours], &values[theirs]);
            }
            let written: jiff::Timestamp = plain(&values["last_written_time"]).parse().expect("a time");
            tally.compare("last_written_time", &micros(event).into(), &written.as_microsecond().into());
        }
    }
    tally.settle(18);
}

#[test]
fn vpc_flows_against_opensearch() {
    let Some(path) = shared::data("cloud/opensearch-catalog/amazon_vpc_flow-sample.json.gz") else { return };
    let mut text = String::new();
    let mut unpacked = flate2::read::GzDecoder::new(std::fs::File::open(path).expect("it opens"));
    std::io::Read::read_to_string(&mut unpacked, &mut text).expect("it unpacks");
    let documents: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    // Many were made from one sample: their fields are changed, and the line they keep is not.
    let own = |document: &Value| {
        let flow = &document["aws"]["vpc"];
        plain(&document["body"]).contains(&format!(" {} {} ", plain(&flow["srcaddr"]), plain(&flow["dstaddr"])))
    };
    let documents: Vec<Value> = documents.into_iter().filter(own).collect();
    let lines: String = documents.iter().map(|document| format!("{}\n", plain(&document["body"]))).collect();
    let mut read = Collected::default();
    reeve_decode::read(Box::new(lines.as_bytes()), "flows", &reeve_decode::Limits::default(), &mut read);
    let found = events(&read);
    let mut tally = Tally::new("OpenSearch's flow documents");
    tally.compare("events", &found.len().into(), &documents.len().into());
    for (event, document) in found.iter().zip(&documents) {
        assert_eq!(event.decoder, "aws.vpcflow", "{}", event.native);
        for (name, value) in event.native.as_object().expect("an object") {
            tally.compare(name, value, &document["aws"]["vpc"][name]);
        }
    }
    tally.settle(100);
}

#[test]
fn load_balancers_and_tables_find_their_decoder() {
    for (path, decoder, lines) in
        [("cloud/opensearch-catalog/amazon_elb-raw.log", "aws.alb", 63), ("linux/msticpy/syslog_data.csv", "csv", 100)]
    {
        let Some(path) = shared::data(path) else { return };
        let read = shared::read(&path);
        let found = events(&read);
        println!("{}: {:?}", path.display(), read.by_decoder());
        assert_eq!(found.iter().filter(|event| event.decoder == decoder).count(), lines, "{}", path.display());
        let whole = |event: &&&Seen| decoder == "csv" || event.time.is_some() && event.native["rest"].is_null();
        assert_eq!(found.iter().filter(whole).count(), lines, "{}", path.display());
    }
}

/// A million bytes of what takes each reader longest must not take it long.
#[test]
fn hostile_lines_take_linear_time() {
    let begun = std::time::Instant::now();
    for (start, part) in [
        ("CEF:0|a|b|c|d|e|5|", "a="),
        ("CEF:0|a|b|c|d|e|5|", "cs1=1 cs1Label=x "),
        ("CEF:0|a|b|c|d|e|5|", "=\\"),
        ("LEEF:2.0|a|b|c|d|x09|", "k\t"),
        ("", "CEF:"),
        ("", "a=\"\\\" "),
        ("", "a=1 "),
        ("#Fields: a b c\n", "\" \"x "),
        ("#Fields: a,b,c\n", "\"\","),
        ("timestamp,user,host\n", "\"\n"),
        ("timestamp,user,host\n", "\"\"\"\","),
        ("http 2026-11-20T10:00:00Z app/x 192.0.2.1:1 ", "\" "),
        ("http 2026-11-20T10:00:00Z app/x 192.0.2.1:1 ", "[ \"x"),
        ("version account-id srcaddr\n", "1 "),
    ] {
        let text = format!("{start}{}\n", part.repeat((1 << 20) / part.len()));
        let mut read = Collected::default();
        reeve_decode::read(Box::new(text.as_bytes()), "hostile", &reeve_decode::Limits::default(), &mut read);
        assert!(read.raw >= 1, "{start}{part}");
    }
    let took = begun.elapsed();
    println!("14 MiB of hostile lines in {took:?}");
    assert!(took.as_secs() < 60, "{took:?}: some reader is not linear");
}
