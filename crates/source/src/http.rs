use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use reeve_record::RecordId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use crate::{
    Arrival, Elastic, Error, Intake, KeepError, ListenerCount, Place, Tokens, elastic,
    gate::{Gate, GatedListener},
    gelf, grpc,
    hec::Fault,
    ingest, journal, otlp,
    pace::Pace,
    packing::{Packing, PackingError},
    sender::is_token,
    splunk,
    stream::{DISABLED, Door, Peer},
    token::{self, Access},
};

/// Bounds of an HTTP listener.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Largest body, after decompression.
    pub body_bytes_max: usize,
    /// Largest single record; longer documents are refused, longer lines are cut.
    pub record_bytes_max: usize,
    /// Bodies being received or waiting to be durable, together; past it requests are answered 429.
    pub in_flight_bytes_max: usize,
    /// Connections open at once.
    pub connections_max: usize,
    /// Of those, from one address.
    pub connections_per_peer_max: usize,
    /// How long a connection may be silent.
    pub idle: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            record_bytes_max: 8 << 20,
            in_flight_bytes_max: 192 << 20,
            connections_max: 1024,
            connections_per_peer_max: 256,
            idle: Duration::from_secs(120),
        }
    }
}

/// A listener at work.
#[derive(Debug)]
pub struct Running {
    /// The address really bound.
    pub address: SocketAddr,
    /// Ends when the listener has stopped and everything it took in is kept.
    pub done: tokio::task::JoinHandle<()>,
}

/// Opens an HTTP listener, over TLS if the place has it. It takes `POST /ingest/{source}`, the Elastic API, and what
/// else is said by [`Api`]. Stops when `stop` turns true: requests under way are finished first.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_http(
    place: &Place,
    intake: Intake,
    tokens: Tokens,
    limits: HttpLimits,
    elastic: Elastic,
    mut stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    let count = intake.counters.listener(&place.name);
    let gate = Gate::new(limits.connections_per_peer_max, limits.connections_max, count.clone());
    let tls = place.tls.as_ref().map(|tls| tls.speaking(&[b"h2", b"http/1.1"]));
    let door = Door::open(&Place { tls, ..place.clone() }, gate).await?;
    let address = door.listener.local_addr().map_err(|cause| place.failed("tcp", cause))?;
    let listener = GatedListener { door, idle: limits.idle };
    let permits = limits.in_flight_bytes_max.div_ceil(PERMIT_BYTES).max(limits.body_bytes_max.div_ceil(PERMIT_BYTES));
    let shared = Arc::new(Shared {
        intake,
        tokens,
        limits,
        elastic,
        count,
        in_flight: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
        unpacking: Semaphore::new(2),
    });
    let router = Router::new().fallback(dispatch).with_state(shared).into_make_service_with_connect_info::<Peer>();
    let done = tokio::spawn(async move {
        let mut stopped = stop.clone();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        tokio::select! {
            result = async { serving.await } => if let Err(error) = result {
                tracing::error!(%error, "an HTTP listener ended");
            },
            // A client that holds its connection open must not hold up the stop.
            () = async {
                let _ = stop.wait_for(|stop| *stop).await;
                tokio::time::sleep(STOP_GRACE).await;
            } => {}
        }
    });
    Ok(Running { address, done })
}

pub(crate) struct Shared {
    pub(crate) intake: Intake,
    tokens: Tokens,
    pub(crate) limits: HttpLimits,
    pub(crate) elastic: Elastic,
    count: Arc<ListenerCount>,
    in_flight: Arc<Semaphore>,
    /// Unpacking takes a core and up to a whole body of memory: two at a time.
    unpacking: Semaphore,
}

async fn dispatch(State(shared): State<Arc<Shared>>, ConnectInfo(mut peer): ConnectInfo<Peer>, request: Request) -> Response {
    shared.count.request();
    let path = request.uri().path().to_owned();
    let segments: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(unescape).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let api = Api::of(&segments, request.method());
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let admitted = shared.admit(&mut peer, authorization);
    if let Err(refusal) = admitted
        && !api.is_open(&segments)
    {
        return shared.turn_away(&refusal, api, request.headers());
    }
    match api {
        Api::Ingest => ingest::answer(&shared, &segments, &peer, request).await,
        Api::Splunk => splunk::answer(&shared, &segments, &peer, request).await,
        Api::Gelf => gelf::answer(&shared, &peer, request).await,
        Api::Otlp => otlp::answer(&shared, &peer, request).await,
        Api::OtlpGrpc => grpc::answer(&shared, &peer, request).await,
        Api::Journal => journal::answer(&shared, &peer, request).await,
        Api::Elastic => elastic::answer(&shared, &segments, &peer, request).await,
    }
}

/// The interfaces one port has, told apart by path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `POST /ingest/{source}`: lines, JSON, signed deliveries.
    Ingest,
    /// `/services/collector…`: the Splunk HTTP Event Collector.
    Splunk,
    /// `POST /gelf`.
    Gelf,
    /// `POST /v1/logs`: OpenTelemetry over HTTP.
    Otlp,
    /// `POST /opentelemetry.proto.collector.logs.v1.LogsService/Export`: OpenTelemetry over gRPC.
    OtlpGrpc,
    /// `POST /upload`: systemd's journal.
    Journal,
    /// Everything else: the Elastic bulk API.
    Elastic,
}

impl Api {
    fn of(segments: &[&str], method: &Method) -> Self {
        match segments {
            ["ingest", ..] => Self::Ingest,
            ["services", "collector", ..] => Self::Splunk,
            ["gelf"] if *method == Method::POST => Self::Gelf,
            ["v1", "logs"] => Self::Otlp,
            path if *path == grpc::EXPORT => Self::OtlpGrpc,
            ["upload"] if *method == Method::POST => Self::Journal,
            _ => Self::Elastic,
        }
    }

    /// Whether a request is answered without a token: only whether the server is well.
    fn is_open(self, segments: &[&str]) -> bool {
        self == Self::Splunk && segments.get(2) == Some(&"health")
    }

    fn refuse(self, refusal: &Refusal, asked: &HeaderMap) -> Response {
        match self {
            Self::Ingest | Self::Gelf | Self::Journal => ingest::refuse(refusal),
            Self::Splunk => splunk::refuse(refusal),
            Self::Otlp => otlp::refuse(refusal, asked),
            Self::OtlpGrpc => grpc::refuse(refusal),
            Self::Elastic => elastic::refuse(refusal, asked),
        }
    }
}

/// A request not served, told apart by what the client should do about it.
#[derive(Debug)]
pub(crate) enum Refusal {
    Unauthorized(Access),
    TooLarge(usize),
    /// It has more than so many.
    TooManyRecords(usize),
    /// The body ended early or stalled.
    Incomplete,
    Encoding(String),
    Malformed(String),
    NotFound(String),
    Method(Method),
    /// Its records would be taken for some that a numbered source signed.
    Unsigned(String),
    /// Its records would be taken for some of this registered source.
    NotThisSource(Arc<str>),
    /// The registered source that sent it is disabled.
    Disabled(Arc<str>),
    Delivery {
        status: StatusCode,
        code: &'static str,
        reason: String,
    },
    Hec(Fault),
    Keep(KeepError),
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) | Self::TooManyRecords(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::Encoding(_) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unsigned(_) | Self::NotThisSource(_) | Self::Disabled(_) => StatusCode::FORBIDDEN,
            Self::Delivery { status, .. } => *status,
            Self::Hec(fault) => StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Keep(KeepError::Overloaded) => StatusCode::TOO_MANY_REQUESTS,
            Self::Keep(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable name, counted and sent.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::TooLarge(_) => "body_too_large",
            Self::TooManyRecords(_) => "too_many_records",
            Self::Incomplete => "body_incomplete",
            Self::Encoding(_) => "bad_encoding",
            Self::Malformed(_) => "malformed",
            Self::NotFound(_) => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::Unsigned(_) => "unsigned",
            Self::NotThisSource(_) => "not_this_source",
            Self::Disabled(_) => DISABLED,
            Self::Delivery { code, .. } => code,
            Self::Hec(fault) => fault.name(),
            Self::Keep(KeepError::Overloaded) => "overloaded",
            Self::Keep(KeepError::Full(_)) => "disk_full",
            Self::Keep(KeepError::Stopping) => "stopping",
            Self::Keep(KeepError::Failed(_)) => "not_durable",
        }
    }

    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unauthorized(_) => "a token is needed: send `Authorization: Bearer TOKEN`".to_owned(),
            Self::TooLarge(max) => format!("the body is larger than {max} bytes; send it in parts"),
            Self::TooManyRecords(max) => format!("the request has more than {max} records; send it in parts"),
            Self::Incomplete => "the body did not arrive whole, or too slowly".to_owned(),
            Self::Encoding(detail) => format!("the body cannot be unpacked: {detail}"),
            Self::Malformed(detail) => detail.clone(),
            Self::NotFound(path) => format!("there is nothing at `{path}`"),
            Self::Method(method) => format!("`{method}` is not possible here"),
            Self::Unsigned(source) => format!("`{source}` is a numbered source: only deliveries signed with its key are taken"),
            Self::NotThisSource(name) => {
                format!("`{name}` is a registered source: only what comes with its token is taken under its name")
            }
            Self::Disabled(name) => {
                format!("the source `{name}` is disabled: nothing is taken from it until `reeve source enable {name}`")
            }
            Self::Delivery { reason, .. } => reason.clone(),
            Self::Hec(fault) => fault.text.to_owned(),
            Self::Keep(error) => error.to_string(),
        }
    }
}

impl Shared {
    pub(crate) fn tokens_needed(&self) -> bool {
        self.tokens.is_needed()
    }

    /// Finds out who is asking, by token, certificate or address, and whether they may write.
    fn admit(&self, peer: &mut Peer, authorization: Option<&str>) -> Result<(), Refusal> {
        let senders = &self.intake.senders;
        let shown = token::shown(authorization);
        let by_token = shown.iter().find_map(|token| senders.by_token(token));
        let has_own = by_token.is_some();
        match by_token {
            Some(sender) => peer.sender = Some(sender),
            // One that was retired or mistyped must not pass for somebody else's.
            None if shown.iter().any(|token| is_token(token)) => return Err(Refusal::Unauthorized(Access::WrongToken)),
            None => peer.recognise(senders),
        }
        if let Some(sender) = peer.sender.as_ref().filter(|sender| !sender.is_enabled()) {
            self.intake.counters.source(sender.name()).refused(DISABLED, 1);
            return Err(Refusal::Disabled(sender.name().clone()));
        }
        match self.tokens.look(authorization) {
            Access::Allowed => Ok(()),
            _ if has_own => Ok(()),
            access => Err(Refusal::Unauthorized(access)),
        }
    }

    /// Counts a refusal and answers it in the words of the API that was spoken to.
    pub(crate) fn turn_away(&self, refusal: &Refusal, api: Api, asked: &HeaderMap) -> Response {
        self.count.refused(refusal.code());
        let mut response = api.refuse(refusal, asked);
        let headers = response.headers_mut();
        if matches!(refusal, Refusal::Unauthorized(_)) {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"reeve\", Bearer"));
        }
        if matches!(refusal, Refusal::Keep(_)) {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }

    /// The whole body, unpacked if its headers say that it is packed. The room counts its bytes as in flight for as long as it lives.
    pub(crate) async fn body(&self, headers: &HeaderMap, body: Body) -> Result<(Bytes, Room), Refusal> {
        let (packed, room) = self.received(headers, body).await?;
        match named_packing(&packed, headers)? {
            Some(packing) => self.unpacked(packed, packing, room).await,
            None => Ok((packed, room)),
        }
    }

    /// The same, of clients that pack without saying so.
    pub(crate) async fn body_by_its_bytes(&self, headers: &HeaderMap, body: Body) -> Result<(Bytes, Room), Refusal> {
        let (packed, room) = self.received(headers, body).await?;
        match named_packing(&packed, headers)?.or_else(|| Packing::of(&packed)) {
            Some(packing) => self.unpacked(packed, packing, room).await,
            None => Ok((packed, room)),
        }
    }

    /// The whole body as it was sent.
    pub(crate) async fn received(&self, headers: &HeaderMap, body: Body) -> Result<(Bytes, Room), Refusal> {
        let max = self.limits.body_bytes_max;
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let mut stream = body.into_data_stream();
        if announced.is_some_and(|length| length > max) {
            // Whoever asks first has sent nothing yet and gets the answer at once.
            if !headers.contains_key(header::EXPECT) {
                self.discard(stream).await;
            }
            return Err(Refusal::TooLarge(max));
        }
        let mut room = self.room(announced.unwrap_or(0)).await?;
        let pace = Pace::begin(self.limits.idle, 0);
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let so_far = first.len() + rest.len();
            let until = pace.until(so_far).min(Instant::now() + self.limits.idle);
            let chunk = match tokio::time::timeout_at(until, stream.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => return Err(Refusal::Incomplete),
            };
            let length = so_far + chunk.len();
            if length > max {
                self.discard(stream).await;
                return Err(Refusal::TooLarge(max));
            }
            self.widen(&mut room, length).await?;
            // Most small bodies are one chunk: not copied.
            if first.is_empty() && rest.is_empty() {
                first = chunk;
            } else {
                if rest.is_empty() {
                    rest.reserve(announced.unwrap_or(2 * length));
                    rest.extend_from_slice(&std::mem::take(&mut first));
                }
                rest.extend_from_slice(&chunk);
            }
        }
        Ok((if rest.is_empty() { first } else { rest.freeze() }, room))
    }

    pub(crate) async fn unpacked(&self, packed: Bytes, packing: Packing, mut room: Room) -> Result<(Bytes, Room), Refusal> {
        let max = self.limits.body_bytes_max;
        // Held until there is room for what came out.
        let Ok(_turn) = self.unpacking.acquire().await else {
            return Err(Refusal::Keep(KeepError::Stopping));
        };
        let unpacking = tokio::task::spawn_blocking(move || packing.unpack(&packed, max)).await;
        let unpacked = unpacking.map_err(|error| Refusal::Encoding(error.to_string()))?.map_err(|error| match error {
            PackingError::Damaged(detail) => Refusal::Encoding(detail),
            PackingError::TooLarge => Refusal::TooLarge(max),
        })?;
        self.widen(&mut room, unpacked.len()).await?;
        Ok((unpacked, room))
    }

    /// Keeps the records of a request, and its room until they are durable. Many small records take more of it than their bytes.
    pub(crate) async fn keep(&self, batch: Vec<Arrival>, mut room: Room) -> Result<Vec<RecordId>, Refusal> {
        if batch.len() > RECORDS_MAX {
            return Err(Refusal::TooManyRecords(RECORDS_MAX));
        }
        self.weigh(&mut room, batch.len()).await?;
        self.intake.keep(batch).await.map_err(Refusal::Keep)
    }

    /// Reads on and keeps nothing, within bounds: a client that still sends would see its connection break instead of the answer, and
    /// send the same again.
    async fn discard(&self, mut stream: axum::body::BodyDataStream) {
        let (pace, mut discarded) = (Pace::begin(self.limits.idle, 0), 0);
        while let Ok(Some(Ok(chunk))) = tokio::time::timeout_at(pace.until(discarded), stream.next()).await {
            discarded += chunk.len();
            if discarded >= DISCARD_BYTES_MAX {
                return;
            }
        }
    }

    /// Room for bytes in flight; an overload if there is none for a second.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Refusal> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let waiting = self.in_flight.clone().acquire_many_owned(permits);
        match tokio::time::timeout(Duration::from_secs(1), waiting).await {
            Ok(Ok(permit)) => Ok(Room { bytes: permits as usize * PERMIT_BYTES, permit }),
            Ok(Err(_)) | Err(_) => Err(Refusal::Keep(KeepError::Overloaded)),
        }
    }

    /// Makes room for so many records, which take more than their bytes where those are few.
    pub(crate) async fn weigh(&self, room: &mut Room, records: usize) -> Result<(), Refusal> {
        self.widen(room, (records * RECORD_BYTES).min(self.limits.in_flight_bytes_max)).await
    }

    /// Makes room for so many bytes in all.
    pub(crate) async fn widen(&self, room: &mut Room, bytes: usize) -> Result<(), Refusal> {
        if bytes > room.bytes {
            room.join(self.room(bytes - room.bytes).await?);
        }
        Ok(())
    }
}

/// Bytes counted as in flight.
pub(crate) struct Room {
    bytes: usize,
    permit: OwnedSemaphorePermit,
}

impl Room {
    fn join(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.permit.merge(other.permit);
    }
}

/// How a body is packed whose headers say that it is. The bytes decide how: some clients name another encoding than they use.
fn named_packing(body: &[u8], headers: &HeaderMap) -> Result<Option<Packing>, Refusal> {
    let Some(named) =
        headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase())
    else {
        return Ok(None);
    };
    if named.is_empty() || named == "identity" || body.is_empty() {
        return Ok(None);
    }
    let wrong = || Refusal::Encoding(format!("`{named}` was named, but the bytes are neither gzip, zlib nor zstd"));
    Packing::of(body).ok_or_else(wrong).map(Some)
}

/// `%41` to `A`; anything that is no escape stays.
pub(crate) fn unescape(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Records of one request. A record costs more than its bytes, which must not grow without bound where they are few.
pub(crate) const RECORDS_MAX: usize = 1 << 18;
/// Lines of one request that is cut into lines, and documents of a bulk request.
pub(crate) const LINES_MAX: usize = 1 << 20;
/// What a record is counted as in flight at least, on its way to be durable.
const RECORD_BYTES: usize = 256;
/// Permits of the in-flight semaphore stand for this many bytes.
const PERMIT_BYTES: usize = 4096;
/// How much of a body that is refused for its size is read before the answer.
const DISCARD_BYTES_MAX: usize = 512 << 20;

/// How long requests under way may take after a stop.
const STOP_GRACE: Duration = Duration::from_secs(8);
