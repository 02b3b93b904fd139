//! What to paste where the events are: for each way to send, with address and token filled in. The clients are those of `docs/guide/listeners.md`.
use std::collections::BTreeMap;

use reeve_source::Registered;

/// The ways there is something to paste for, and whether they carry a token.
pub(crate) const WAYS: [(&str, bool); 8] = [
    ("curl", true),
    ("filebeat", true),
    ("fluent-bit", true),
    ("vector", true),
    ("otel", true),
    ("splunk", true),
    ("rsyslog", false),
    ("journal-upload", false),
];

/// Whether a source can be known that sends this way.
///
/// # Errors
/// There is no such way, or it carries no token and the source has nothing else.
pub(crate) fn check(way: &str, by_token: bool) -> Result<(), String> {
    let names = || WAYS.map(|(name, _)| name).join(", ");
    let Some((_, carries)) = WAYS.iter().find(|(name, _)| *name == way) else {
        return Err(format!("`{way}` is no way to send that is known here: use one of {}", names()));
    };
    if by_token && !carries {
        return Err(format!(
            "{way} carries no token: say where it sends from with --address IP or NETWORK, or the name in its client certificate with --certificate NAME"
        ));
    }
    Ok(())
}

/// What to paste, or what is missing for it.
pub(crate) fn text(source: &Registered, token: Option<&str>, listeners: &BTreeMap<String, String>) -> String {
    let place = |wanted: &[&str]| {
        wanted.iter().find_map(|name| Some(Place { name: (*name).to_owned(), url: listeners.get(*name)?.clone() }))
    };
    let wanted: &[&str] = match source.way.as_str() {
        "filebeat" | "vector" | "fluent-bit" => &["elastic", "http", "splunk", "otlp", "gelf_http", "journal"],
        "otel" => &["otlp", "http", "elastic", "splunk", "gelf_http", "journal"],
        "splunk" => &["splunk", "http", "elastic", "otlp", "gelf_http", "journal"],
        "journal-upload" => &["journal", "http", "elastic", "splunk", "otlp", "gelf_http"],
        "rsyslog" => &["relp", "syslog_tcp", "syslog_tls"],
        _ => &["http", "elastic", "splunk", "otlp", "gelf_http", "journal"],
    };
    let Some(place) = place(wanted) else {
        let section = wanted.first().copied().unwrap_or_default();
        return format!(
            "# No listener takes this yet. In the server's configuration:\n[{section}]\naddress = \"0.0.0.0:PORT\"\n"
        );
    };
    let shown = Shown { name: &source.name, token: token.unwrap_or("TOKEN"), place: &place };
    place.note() + &shown.of(&source.way)
}

/// A listener.
struct Place {
    name: String,
    /// `SCHEME://ADDRESS:PORT`.
    url: String,
}

impl Place {
    /// The address as others reach it.
    fn authority(&self) -> String {
        let authority = self.url.split("://").nth(1).unwrap_or(&self.url);
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
        if matches!(host, "0.0.0.0" | "[::]") { format!("{}:{port}", own_name()) } else { authority.to_owned() }
    }

    /// Without the brackets that an IPv6 address has in a URL.
    fn host(&self) -> String {
        let authority = self.authority();
        let host = authority.rsplit_once(':').map_or(&*authority, |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    }

    fn port(&self) -> String {
        self.authority().rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default()
    }

    fn has_tls(&self) -> bool {
        self.url.starts_with("https:") || self.url.starts_with("tls:")
    }

    /// The address with `http` or `https`.
    fn base(&self) -> String {
        format!("{}://{}", if self.has_tls() { "https" } else { "http" }, self.authority())
    }

    /// Says if nobody else reaches it.
    fn note(&self) -> String {
        let local = self.host().starts_with("127.") || self.host() == "::1";
        if local {
            format!(
                "# Only this machine reaches {}: give [{}] another address in the configuration to receive from others.\n",
                self.authority(),
                self.name
            )
        } else {
            String::new()
        }
    }
}

/// The machine's own name.
fn own_name() -> String {
    let kept = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(kept.trim()).filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}

struct Shown<'s> {
    name: &'s str,
    token: &'s str,
    place: &'s Place,
}

impl Shown<'_> {
    fn of(&self, way: &str) -> String {
        match way {
            "filebeat" => self.filebeat(),
            "fluent-bit" => self.fluent_bit(),
            "vector" => self.vector(),
            "otel" => self.otel(),
            "splunk" => self.splunk(),
            "rsyslog" => self.rsyslog(),
            "journal-upload" => self.journal_upload(),
            _ => self.curl(),
        }
    }

    fn curl(&self) -> String {
        let (name, token, base) = (self.name, self.token, self.place.base());
        format!(
            "echo \"first event of {name}\" | curl -sS --data-binary @- -H 'Authorization: Bearer {token}' {base}/ingest/{name}\n\
             # A log file, a line an event:\n\
             curl -sS --data-binary @/var/log/example.log -H 'Authorization: Bearer {token}' {base}/ingest/{name}\n"
        )
    }

    fn filebeat(&self) -> String {
        let (name, token, base) = (self.name, self.token, self.place.base());
        format!(
            "# filebeat.yml\n\
             filebeat.inputs:\n\
             - type: filestream\n\
             \x20 id: {name}\n\
             \x20 paths: [\"/var/log/*.log\"]\n\
             setup.ilm.enabled: false\n\
             setup.template.enabled: false\n\
             output.elasticsearch:\n\
             \x20 hosts: [\"{base}\"]\n\
             \x20 api_key: \"{name}:{token}\"\n"
        )
    }

    fn fluent_bit(&self) -> String {
        let (name, token) = (self.name, self.token);
        let (host, port, tls) = (self.place.host(), self.place.port(), if self.place.has_tls() { "on" } else { "off" });
        format!(
            "# fluent-bit.conf\n\
             [INPUT]\n\
             \x20   name tail\n\
             \x20   path /var/log/*.log\n\
             [OUTPUT]\n\
             \x20   name es\n\
             \x20   match *\n\
             \x20   host {host}\n\
             \x20   port {port}\n\
             \x20   tls {tls}\n\
             \x20   index {name}\n\
             \x20   suppress_type_name on\n\
             \x20   http_user {name}\n\
             \x20   http_passwd {token}\n"
        )
    }

    fn vector(&self) -> String {
        let (name, token, base) = (self.name, self.token, self.place.base());
        format!(
            "# vector.yaml\n\
             sources:\n\
             \x20 logs: {{ type: file, include: [\"/var/log/*.log\"] }}\n\
             sinks:\n\
             \x20 reeve:\n\
             \x20   type: elasticsearch\n\
             \x20   inputs: [logs]\n\
             \x20   endpoints: [\"{base}\"]\n\
             \x20   api_version: v8\n\
             \x20   bulk: {{ index: {name} }}\n\
             \x20   auth: {{ strategy: basic, user: {name}, password: {token} }}\n"
        )
    }

    fn otel(&self) -> String {
        let (token, base) = (self.token, self.place.base());
        format!(
            "# The environment of a program with OpenTelemetry:\n\
             OTEL_EXPORTER_OTLP_LOGS_ENDPOINT={base}/v1/logs\n\
             OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf\n\
             OTEL_EXPORTER_OTLP_LOGS_HEADERS=authorization=Bearer%20{token}\n"
        )
    }

    fn splunk(&self) -> String {
        let (name, token, base) = (self.name, self.token, self.place.base());
        format!(
            "curl -sS {base}/services/collector/event -H 'Authorization: Splunk {token}' -d '{{\"event\":\"first event of {name}\",\"sourcetype\":\"{name}\"}}'\n\
             # Any client of the HTTP Event Collector: URL {base}, token {token}\n"
        )
    }

    fn rsyslog(&self) -> String {
        let (host, port) = (self.place.host(), self.place.port());
        if self.place.name == "relp" {
            return format!(
                "# /etc/rsyslog.d/reeve.conf, with the package rsyslog-relp\n\
                 module(load=\"omrelp\")\n\
                 action(type=\"omrelp\" target=\"{host}\" port=\"{port}\" template=\"RSYSLOG_SyslogProtocol23Format\"\n\
                 \x20 action.resumeInterval=\"1\" action.resumeRetryCount=\"-1\")\n"
            );
        }
        format!(
            "# /etc/rsyslog.d/reeve.conf; with a listener [relp] nothing would be lost when the connection breaks\n\
             action(type=\"omfwd\" target=\"{host}\" port=\"{port}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\"\n\
             \x20 template=\"RSYSLOG_SyslogProtocol23Format\" action.resumeInterval=\"1\" action.resumeRetryCount=\"-1\")\n"
        )
    }

    fn journal_upload(&self) -> String {
        format!(
            "# With the package systemd-journal-remote:\n\
             systemd-journal-upload --url={} --save-state=/var/lib/systemd/journal-upload/state\n",
            self.place.base()
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use reeve_source::State;

    use super::*;

    fn source(way: &str) -> Registered {
        Registered {
            name: "web1".to_owned(),
            way: way.to_owned(),
            label: "default".to_owned(),
            state: State::Enabled,
            token: None,
            certificate: None,
            addresses: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "ana".to_owned(),
            changed_at: Timestamp::UNIX_EPOCH,
            changed_by: "ana".to_owned(),
            reason: None,
        }
    }

    fn listeners(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect()
    }

    #[test]
    fn each_way_has_address_and_token_in_it() {
        let all = listeners(&[("http", "http://127.0.0.1:8421"), ("relp", "tcp://192.0.2.1:2514")]);
        for (way, carries) in WAYS {
            let shown = text(&source(way), Some("rvs_secret"), &all);
            assert_eq!(shown.contains("rvs_secret"), carries, "{way}: {shown}");
            let port = if way == "rsyslog" { "2514" } else { "8421" };
            assert!(shown.contains(port) && shown.ends_with('\n'), "{way}: {shown}");
            assert_eq!(shown.contains("Only this machine"), way != "rsyslog", "{way}: {shown}");
            assert!(check(way, false).is_ok() && check(way, true).is_ok() == carries);
        }
        assert!(check("carrier-pigeon", true).unwrap_err().contains("filebeat"));
    }

    #[test]
    fn the_listener_that_fits_is_taken_as_others_reach_it() {
        let all = listeners(&[
            ("http", "http://0.0.0.0:8421"),
            ("elastic", "https://192.0.2.1:9200"),
            ("syslog_tcp", "tcp://[::1]:5514"),
        ]);
        assert!(text(&source("filebeat"), Some("t"), &all).contains("hosts: [\"https://192.0.2.1:9200\"]"));
        let curl = text(&source("curl"), Some("t"), &all);
        assert!(curl.contains(&format!("http://{}:8421/ingest/web1", own_name())) && !curl.contains("Only this"), "{curl}");
        assert!(text(&source("rsyslog"), None, &all).contains("target=\"::1\" port=\"5514\""));
        assert!(text(&source("rsyslog"), None, &listeners(&[])).contains("[relp]\naddress"));
    }
}
