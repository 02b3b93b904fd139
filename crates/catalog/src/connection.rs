//! One connection to a PostgreSQL server, that waits.
//!
//! PostgreSQL's protocol 3.0, with values as text. Messages and SCRAM are those of `postgres-protocol`: the whole driver would change how the
//! query engine's own dependencies are built (docs/decisions/0010-catalog-and-object-storage.md).

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    IsNull,
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{
        backend::{DataRowBody, ErrorResponseBody, Message},
        frontend,
    },
};

/// What kept the server from doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The way to it, or what came over it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It refuses.
    #[error("{message} ({code})")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// Its words.
        message: String,
    },
    /// It asks for what this client does not do.
    #[error("{0}")]
    Unsupported(String),
}

/// Whom to connect to, and as whom.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) role: String,
    pub(crate) database: String,
    pub(crate) password: Option<String>,
}

/// A machine, or the folder of a socket on this one.
#[derive(Clone)]
pub(crate) enum Host {
    Tcp(String),
    Unix(PathBuf),
}

/// A value of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// A row of an answer.
pub(crate) struct Row(Vec<Option<String>>);

/// What a statement gave: rows, and how many it changed.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    pub(crate) changed: u64,
}

pub(crate) struct Connection {
    stream: Stream,
    received: BytesMut,
    answered: Instant,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

const CONNECT: Duration = Duration::from_secs(5);
/// Longer than the server lets a statement take.
const ANSWER: Duration = Duration::from_secs(90);

impl Connection {
    /// Connects and signs in.
    pub(crate) fn open(address: &Address) -> Result<Self, Fault> {
        let stream = Stream::open(address)?;
        let mut connection = Self { stream, received: BytesMut::new(), answered: Instant::now() };
        let mut message = BytesMut::new();
        let parameters = [
            ("user", address.role.as_str()),
            ("database", &address.database),
            ("application_name", "reeve"),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, &mut message)?;
        connection.stream.write_all(&message)?;
        connection.sign_in(address)?;
        connection.finish()?;
        Ok(connection)
    }

    /// How long ago the server last answered.
    pub(crate) fn silent_for(&self) -> Duration {
        self.answered.elapsed()
    }

    /// Runs statements without values, as a batch.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), Fault> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message)?;
        self.stream.write_all(&message)?;
        self.finish().map(drop)
    }

    /// Runs one statement.
    pub(crate) fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Answer, Fault> {
        let mut message = BytesMut::new();
        frontend::parse("", sql, [], &mut message)?;
        let bound = frontend::bind("", "", [], values, |value, out| Ok(value.write(out)), [], &mut message);
        if let Err(frontend::BindError::Serialization(error)) = bound {
            return Err(Fault::Io(error));
        }
        frontend::execute("", 0, &mut message)?;
        frontend::sync(&mut message);
        self.stream.write_all(&message)?;
        self.finish()
    }

    fn sign_in(&mut self, address: &Address) -> Result<(), Fault> {
        let mut scram: Option<ScramSha256> = None;
        loop {
            let mut message = BytesMut::new();
            match self.receive()? {
                Message::AuthenticationOk => return Ok(()),
                Message::AuthenticationSasl(body) => {
                    if !body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256))? {
                        return Err(Fault::Unsupported("the server offers no SCRAM-SHA-256".to_owned()));
                    }
                    let Some(password) = &address.password else {
                        return Err(Fault::Unsupported(
                            "the server wants a password: name a file in catalog_password_file".to_owned(),
                        ));
                    };
                    let new = scram.insert(ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported()));
                    frontend::sasl_initial_response(SCRAM_SHA_256, new.message(), &mut message)?;
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or_else(unexpected)?;
                    scram.update(body.data())?;
                    frontend::sasl_response(scram.message(), &mut message)?;
                }
                // This proves that the server knows the password too.
                Message::AuthenticationSaslFinal(body) => scram.as_mut().ok_or_else(unexpected)?.finish(body.data())?,
                Message::ErrorResponse(body) => return Err(refused(&body)),
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                _ => {
                    let detail = "the server wants another way of signing in: set password_encryption to scram-sha-256, and that in pg_hba.conf";
                    return Err(Fault::Unsupported(detail.to_owned()));
                }
            }
            self.stream.write_all(&message)?;
        }
    }

    /// Takes what the server says until it is ready for more.
    fn finish(&mut self) -> Result<Answer, Fault> {
        let (mut answer, mut problem) = (Answer::default(), None);
        loop {
            let message = match self.receive() {
                Ok(message) => message,
                // A server that turns somebody away, or is shut down, says so and closes.
                Err(fault) => return Err(problem.unwrap_or(fault)),
            };
            match message {
                Message::DataRow(body) => answer.rows.push(Row::of(&body)?),
                Message::CommandComplete(body) => {
                    let last = body.tag()?.rsplit(' ').next().and_then(|count| count.parse().ok());
                    answer.changed = last.unwrap_or_default();
                }
                Message::ErrorResponse(body) => problem = Some(refused(&body)),
                Message::ReadyForQuery(_) => break,
                _ => {}
            }
        }
        self.answered = Instant::now();
        problem.map_or(Ok(answer), Err)
    }

    fn receive(&mut self) -> Result<Message, Fault> {
        loop {
            if let Some(message) = Message::parse(&mut self.received)? {
                return Ok(message);
            }
            let mut part = [0; 16 << 10];
            match self.stream.read(&mut part)? {
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection").into()),
                count => self.received.extend_from_slice(&part[..count]),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let _ = self.stream.write_all(&message);
    }
}

impl Stream {
    fn open(address: &Address) -> io::Result<Self> {
        match &address.host {
            Host::Unix(folder) => {
                let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{}", address.port)))?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_write_timeout(Some(ANSWER))?;
                Ok(Self::Unix(stream))
            }
            Host::Tcp(name) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for place in (name.as_str(), address.port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&place, CONNECT) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_read_timeout(Some(ANSWER))?;
                            stream.set_write_timeout(Some(ANSWER))?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Value<'_> {
    fn write(&self, out: &mut BytesMut) -> IsNull {
        match self {
            Self::Null => return IsNull::Yes,
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(hex(bytes).as_bytes()),
        }
        IsNull::No
    }
}

impl<'a> Value<'a> {
    pub(crate) fn bytes_or_null(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Self::Null, Self::Bytes)
    }
}

impl Row {
    fn of(body: &DataRowBody) -> io::Result<Self> {
        let value = |range: Option<std::ops::Range<usize>>| {
            let bytes = range.and_then(|range| body.buffer().get(range));
            let text = bytes.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
            text.map_err(io::Error::other)
        };
        body.ranges().map(value).collect().map(Self)
    }

    fn value(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    pub(crate) fn text(&self, column: usize) -> String {
        self.value(column).unwrap_or_default().to_owned()
    }

    /// A number; null is `None`.
    pub(crate) fn number_or_null(&self, column: usize) -> Option<i64> {
        self.value(column)?.parse().ok()
    }

    /// A number that is never null.
    pub(crate) fn number(&self, column: usize) -> Result<i64, Fault> {
        self.number_or_null(column).ok_or_else(|| Fault::Unsupported(format!("column {column} of its answer is no number")))
    }

    pub(crate) fn bytes(&self, column: usize) -> Option<Vec<u8>> {
        let digits = self.value(column)?.strip_prefix("\\x")?;
        let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len()).step_by(2).map(pair).collect()
    }
}

/// Bytes as PostgreSQL writes them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = "\\x".to_owned();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unexpected() -> Fault {
    Fault::Unsupported("the server's answer is out of order".to_owned())
}

fn refused(body: &ErrorResponseBody) -> Fault {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = String::from_utf8_lossy(field.value_bytes());
        match field.type_() {
            b'C' => code = text.into_owned(),
            b'M' => message = text.into_owned(),
            _ => {}
        }
    }
    Fault::Refused { code, message }
}
