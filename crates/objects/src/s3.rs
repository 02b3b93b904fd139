//! Objects in a bucket that speaks Amazon's S3 protocol.
//!
//! Each request is signed for itself, has time limits, and is tried again a few times. Whatever is stored goes with `If-None-Match: *`: a name
//! that is taken is answered with 412, and then what is there decides whether an earlier try had succeeded after all. Objects are stored in one
//! request each: it happens as a whole or not at all, and leaves no parts behind.

use std::{
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusty_s3::{Bucket, S3Action, UrlStyle, actions::ListObjectsV2};
use sha2::{Digest as _, Sha256};
use ureq::{
    Agent, Body,
    http::{Method, Request, Response},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};
use url::Url;

use crate::{Content, Credentials, Error, Objects, Settings, error::is_passing};

/// A bucket, or the part of one below a prefix.
pub struct S3 {
    bucket: Bucket,
    credentials: Option<rusty_s3::Credentials>,
    agent: Agent,
    endpoint: String,
    prefix: String,
}

/// Tries of one request, and how long the first pause between them is; each further one is three times as long.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer to begin; storing half a GiB takes some stores a while after the last byte.
const ANSWER: Duration = Duration::from_secs(60);
/// Slower lines than this, in bytes a second, count as broken.
const RATE_MIN: u64 = 128 << 10;
/// How long a signature is good for.
const SIGNED: Duration = Duration::from_secs(900);
/// What S3 stores in one request.
const OBJECT_BYTES_MAX: u64 = 5 << 30;
const SMALL_BYTES_MAX: u64 = 64 << 20;

/// What is sent along with a request.
enum Sent<'a> {
    Nothing,
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl S3 {
    /// The bucket at this place. Asks it nothing yet.
    ///
    /// # Errors
    /// The settings cannot work.
    pub fn new(settings: &Settings, credentials: Option<Credentials>) -> Result<Self, Error> {
        let wrong = |detail: String| Error::Settings { detail };
        let endpoint: Url = settings.endpoint.parse().map_err(|error| {
            wrong(format!("`{}` is no address: {error}; write it as in http://127.0.0.1:8333", settings.endpoint))
        })?;
        if !["http", "https"].contains(&endpoint.scheme()) {
            return Err(wrong(format!("`{endpoint}`: addresses begin with http: or https:")));
        }
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        if !plain(&settings.prefix) || settings.prefix.starts_with('/') || settings.prefix.contains("//") {
            return Err(wrong(format!("prefix `{}`: letters, digits, - _ . and / within, as in lake/", settings.prefix)));
        }
        let style = if settings.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint.clone(), style, settings.bucket.clone(), settings.region.clone())
            .map_err(|error| wrong(format!("bucket `{}`: {error}", settings.bucket)))?;
        let roots = settings.ca_file.as_deref().map_or(Ok(RootCerts::WebPki), read_authorities)?;
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_connect(Some(CONNECT));
        let agent = config.tls_config(tls).build().into();
        let credentials = credentials.map(|known| match known.token {
            Some(token) => rusty_s3::Credentials::new_with_token(known.key, known.secret, token),
            None => rusty_s3::Credentials::new(known.key, known.secret),
        });
        Ok(Self { bucket, credentials, agent, endpoint: endpoint.to_string(), prefix: settings.prefix.clone() })
    }

    /// Makes sure that the store takes, returns, keeps from overwriting and removes objects.
    ///
    /// # Errors
    /// What it refuses; [`Error::may_pass`] tells whether that may be for now only.
    pub fn verify(&self) -> Result<(), Error> {
        let name = format!("reeve-probe-{:016x}", RandomState::new().hash_one(std::process::id()));
        self.put_bytes(&name, b"one")?;
        let kept = match self.put_bytes(&name, b"two") {
            Err(Error::Taken { .. }) => self.get_bytes(&name).map(|bytes| bytes == b"one"),
            Ok(()) => Ok(false),
            Err(error) => Err(error),
        };
        let removed = self.remove(&name);
        if !kept? {
            return Err(Error::Overwrites);
        }
        removed
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn store(&self, name: &str, sent: &Sent<'_>, content: &Content) -> Result<(), Error> {
        let key = self.key(name);
        if content.bytes > OBJECT_BYTES_MAX {
            let detail = format!("{} bytes are more than S3 stores in one request ({OBJECT_BYTES_MAX})", content.bytes);
            return Err(Error::Damaged { name: name.to_owned(), detail });
        }
        let checksum = STANDARD.encode(content.sha256);
        let headers = [("if-none-match", "*"), ("x-amz-checksum-sha256", checksum.as_str())];
        let sign = || {
            let mut action = self.bucket.put_object(self.credentials.as_ref(), &key);
            headers.iter().for_each(|(header, value)| action.headers_mut().insert(*header, *value));
            action.sign(SIGNED)
        };
        let answer = self.ask("store", name, Method::PUT, &sign, &headers, sent, content.bytes)?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            412 if self.is_there(name, content)? => Ok(()),
            412 => Err(Error::Taken { name: name.to_owned() }),
            _ => Err(refused("store", name, answer)),
        }
    }

    /// Whether the object is there and has this content.
    fn is_there(&self, name: &str, content: &Content) -> Result<bool, Error> {
        let mut answer = self.ask_for("compare", name, content.bytes)?;
        if !answer.status().is_success() {
            return Err(refused("compare", name, answer));
        }
        let (mut hash, mut total) = (Sha256::new(), 0);
        let read = each_part(&mut answer.body_mut().as_reader(), &mut |part| {
            total += part.len() as u64;
            hash.update(part);
            total <= content.bytes
        });
        Ok(read.is_ok() && total == content.bytes && hash.finalize()[..] == content.sha256)
    }

    fn ask_for(&self, what: &'static str, name: &str, bytes: u64) -> Result<Response<Body>, Error> {
        let key = self.key(name);
        let sign = || self.bucket.get_object(self.credentials.as_ref(), &key).sign(SIGNED);
        self.ask(what, name, Method::GET, &sign, &[], &Sent::Nothing, bytes)
    }

    /// Sends a request until it is answered with something that another try would not change.
    #[allow(clippy::too_many_arguments, reason = "the parts of one HTTP request")]
    fn ask(
        &self,
        what: &'static str,
        name: &str,
        method: Method,
        sign: &dyn Fn() -> Url,
        headers: &[(&str, &str)],
        sent: &Sent<'_>,
        bytes: u64,
    ) -> Result<Response<Body>, Error> {
        let (mut pause, mut nth) = (PAUSE, 0);
        loop {
            nth += 1;
            let answer = self.ask_once(&method, &sign(), headers, sent, bytes);
            let problem = match answer {
                Ok(Ok(answer)) if nth == TRIES || !is_passing(answer.status().as_u16()) => return Ok(answer),
                Ok(Ok(answer)) => format!("{}", answer.status()),
                Ok(Err(source)) if nth == TRIES => {
                    let (name, endpoint) = (name.to_owned(), self.endpoint.clone());
                    return Err(Error::Unreachable { what, name, endpoint, source: Box::new(source) });
                }
                Ok(Err(source)) => source.to_string(),
                Err(error) => return Err(error),
            };
            tracing::debug!(what, name, problem, "object storage is asked again");
            // Between half and one and a half of it, so that many that failed at once do not come back at once.
            let share = RandomState::new().hash_one(nth) % 1000;
            std::thread::sleep(pause / 2 + pause * u32::try_from(share).unwrap_or_default() / 1000);
            pause *= 3;
        }
    }

    /// One try: a file of our own that cannot be read ends it all, anything on the way may be tried again.
    fn ask_once(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
        sent: &Sent<'_>,
        bytes: u64,
    ) -> Result<Result<Response<Body>, ureq::Error>, Error> {
        let request = headers.iter().fold(Request::builder().method(method).uri(url.as_str()), |request, (header, value)| {
            request.header(*header, *value)
        });
        let moving = Some(ANSWER + Duration::from_secs(bytes / RATE_MIN));
        macro_rules! run {
            ($body:expr) => {
                request.body($body).map_err(ureq::Error::from).and_then(|request| {
                    let request = self.agent.configure_request(request).timeout_send_body(moving);
                    self.agent.run(request.timeout_recv_response(Some(ANSWER)).timeout_recv_body(moving).build())
                })
            };
        }
        Ok(match sent {
            Sent::Nothing => run!(()),
            Sent::Bytes(bytes) => run!(*bytes),
            Sent::File(path) => {
                let file = File::open(path).map_err(Error::file("open", *path))?;
                run!(&file)
            }
        })
    }
}

impl Objects for S3 {
    fn put(&self, name: &str, file: &Path, content: &Content) -> Result<(), Error> {
        self.store(name, &Sent::File(file), content)
    }

    fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let content = Content { bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into() };
        self.store(name, &Sent::Bytes(bytes), &content)
    }

    fn get(&self, name: &str, file: &Path, bytes: u64, sha256: Option<&[u8; 32]>) -> Result<(), Error> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.fetch(name, file, bytes, sha256) {
                // The line may have broken in the middle; what is really other stays so.
                Err(error @ Error::Damaged { .. }) => last = Some(error),
                done => return done,
            }
        }
        last.map_or(Ok(()), Err)
    }

    fn get_bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut answer = self.ask_for("read", name, SMALL_BYTES_MAX)?;
        match answer.status().as_u16() {
            200..=299 => {
                let read = answer.body_mut().with_config().limit(SMALL_BYTES_MAX).read_to_vec();
                read.map_err(|source| self.broken("read", name, source))
            }
            _ => Err(refused("read", name, answer)),
        }
    }

    fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        let key = self.key(name);
        let sign = || self.bucket.head_object(self.credentials.as_ref(), &key).sign(SIGNED);
        let answer = self.ask("look at", name, Method::HEAD, &sign, &[], &Sent::Nothing, 0)?;
        match answer.status().as_u16() {
            200..=299 => {
                let length = answer.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(Some(length.unwrap_or_default()))
            }
            404 => Ok(None),
            _ => Err(refused("look at", name, answer)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let key = self.key(name);
        let sign = || self.bucket.delete_object(self.credentials.as_ref(), &key).sign(SIGNED);
        let answer = self.ask("remove", name, Method::DELETE, &sign, &[], &Sent::Nothing, 0)?;
        match answer.status().as_u16() {
            200..=299 | 404 => Ok(()),
            _ => Err(refused("remove", name, answer)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let (key, mut names, mut next) = (self.key(prefix), Vec::new(), None);
        loop {
            let sign = || {
                let mut action = self.bucket.list_objects_v2(self.credentials.as_ref());
                action.with_prefix(key.as_str());
                // Names come as they are then: what XML cannot say is in none of ours.
                action.query_mut().remove("encoding-type");
                if let Some(token) = &next {
                    action.with_continuation_token(String::as_str(token));
                }
                action.sign(SIGNED)
            };
            let mut answer = self.ask("list", prefix, Method::GET, &sign, &[], &Sent::Nothing, SMALL_BYTES_MAX)?;
            if !answer.status().is_success() {
                return Err(refused("list", prefix, answer));
            }
            let text = answer.body_mut().read_to_string().map_err(|source| self.broken("list", prefix, source))?;
            let page = ListObjectsV2::parse_response(&text)
                .map_err(|error| Error::Damaged { name: prefix.to_owned(), detail: format!("the list of it: {error}") })?;
            names.extend(page.contents.iter().filter_map(|object| Some(object.key.strip_prefix(&self.prefix)?.to_owned())));
            next = page.next_continuation_token;
            if next.is_none() {
                names.sort();
                return Ok(names);
            }
        }
    }

    fn place(&self) -> String {
        format!("s3 {}/{}", self.bucket.name(), self.prefix)
    }
}

impl S3 {
    fn fetch(&self, name: &str, file: &Path, bytes: u64, sha256: Option<&[u8; 32]>) -> Result<(), Error> {
        let mut answer = self.ask_for("read", name, bytes)?;
        match answer.status().as_u16() {
            200..=299 => {}
            _ => return Err(refused("read", name, answer)),
        }
        let written = write_checked(name, &mut answer.body_mut().as_reader(), file, bytes, sha256);
        if written.is_err() {
            let _ = std::fs::remove_file(file);
        }
        written
    }

    fn broken(&self, what: &'static str, name: &str, source: ureq::Error) -> Error {
        Error::Unreachable { what, name: name.to_owned(), endpoint: self.endpoint.clone(), source: Box::new(source) }
    }
}

fn read_authorities(path: &Path) -> Result<RootCerts, Error> {
    let wrong = |detail: &str| Error::Settings { detail: format!("`{}` {detail}", path.display()) };
    let text = std::fs::read(path).map_err(Error::file("read the certificate authorities in", path))?;
    let mut roots = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            _ => return Err(wrong("holds something that is no certificate")),
        }
    }
    if roots.is_empty() { Err(wrong("holds no certificate in PEM form")) } else { Ok(roots.into()) }
}

fn write_checked(name: &str, from: &mut dyn Read, path: &Path, bytes: u64, sha256: Option<&[u8; 32]>) -> Result<(), Error> {
    let damaged = |detail: String| Error::Damaged { name: name.to_owned(), detail };
    let mut file = File::create(path).map_err(Error::file("create", path))?;
    let (mut hash, mut total, mut failed) = (Sha256::new(), 0, None);
    let read = each_part(from, &mut |part| {
        total += part.len() as u64;
        hash.update(part);
        failed = file.write_all(part).err();
        failed.is_none() && total <= bytes
    });
    if let Some(error) = failed {
        return Err(Error::file("write", path)(error));
    }
    read.map_err(|error| damaged(format!("it broke off after {total} bytes: {error}")))?;
    if total != bytes {
        return Err(damaged(format!("it has {total} bytes, not {bytes}")));
    }
    if sha256.is_some_and(|wanted| hash.finalize()[..] != *wanted) {
        return Err(damaged("its SHA-256 is another".to_owned()));
    }
    file.sync_all().map_err(Error::file("make durable", path))
}

/// Shows what is read, part by part, for as long as it is wanted.
fn each_part(from: &mut dyn Read, wanted: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count if wanted(&buffer[..count]) => {}
            _ => return Ok(()),
        }
    }
}

/// The store's error: its code and its words.
fn code_of(answer: &mut Response<Body>) -> (String, String) {
    let text = answer.body_mut().with_config().limit(64 << 10).read_to_string().unwrap_or_default();
    let part = |tag: &str| {
        let from = text.split_once(&format!("<{tag}>"))?.1;
        Some(from.split_once('<')?.0.to_owned())
    };
    (part("Code").unwrap_or_default(), part("Message").unwrap_or_default())
}

fn refused(what: &'static str, name: &str, mut answer: Response<Body>) -> Error {
    let status = answer.status().as_u16();
    let (code, message) = code_of(&mut answer);
    if status == 404 && code != "NoSuchBucket" {
        return Error::Missing { name: name.to_owned() };
    }
    Error::Refused { what, name: name.to_owned(), status, code, message }
}
