//! OpenTelemetry logs over gRPC: one method, one message each way. Framing and status as gRPC's `PROTOCOL-HTTP2.md` has them.
use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body::Frame;
use reeve_record::Transport;

use crate::{
    http::{Api, RECORDS_MAX, Refusal, Room, Shared},
    logs, otlp,
    packing::Packing,
    stream::Peer,
};

/// Path of the one method there is.
pub(crate) const EXPORT: [&str; 2] = ["opentelemetry.proto.collector.logs.v1.LogsService", "Export"];

/// Answered when the records are durable.
pub(crate) async fn answer(shared: &Shared, peer: &Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let result = async {
        if parts.method != Method::POST {
            return Err(Refusal::Method(parts.method.clone()));
        }
        if parts.version != Version::HTTP_2 {
            return Err(Refusal::Malformed("gRPC needs HTTP/2; OpenTelemetry over HTTP is at /v1/logs".to_owned()));
        }
        let (framed, room) = shared.received(&parts.headers, body).await?;
        let (message, room) = unframed(shared, framed, room).await?;
        let groups = logs::of_protobuf(&message, RECORDS_MAX).map_err(Refusal::Malformed)?;
        otlp::keep(shared, peer, Transport::OtlpGrpc, groups, room).await
    };
    match result.await {
        Ok(()) => (HEAD, Body::new(Answer::Message)).into_response(),
        Err(refusal) => shared.turn_away(&refusal, Api::OtlpGrpc, &parts.headers),
    }
}

/// The one message of a request, unpacked.
async fn unframed(shared: &Shared, framed: Bytes, room: Room) -> Result<(Bytes, Room), Refusal> {
    let (is_packed, message) = message(&framed).map_err(|reason| Refusal::Malformed(reason.to_owned()))?;
    if !is_packed || message.is_empty() {
        return Ok((message, room));
    }
    let unknown = || Refusal::Encoding("the message is packed, but neither with gzip, deflate nor zstd".to_owned());
    let packing = Packing::of(&message).ok_or_else(unknown)?;
    shared.unpacked(message, packing, room).await
}

/// A flag whether it is packed, its length in four bytes, the message.
fn message(framed: &Bytes) -> Result<(bool, Bytes), &'static str> {
    let Some((&[flag, a, b, c, d], rest)) = framed.split_first_chunk() else {
        return Err("the body ends before the five bytes in front of a gRPC message");
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match (flag, rest.len().cmp(&length)) {
        (0 | 1, std::cmp::Ordering::Equal) => Ok((flag == 1, framed.slice(PREFIX..))),
        (0 | 1, std::cmp::Ordering::Less) => Err("the gRPC message is shorter than its length says"),
        (0 | 1, std::cmp::Ordering::Greater) => Err("the request has more than one gRPC message"),
        _ => Err("the gRPC message begins with neither 0 nor 1"),
    }
}

/// A refusal: a status and its reason in the head, and no message.
pub(crate) fn refuse(refusal: &Refusal) -> Response {
    let mut response = (StatusCode::OK, HEAD).into_response();
    let headers = response.headers_mut();
    headers.insert(STATUS, HeaderValue::from(otlp::status_code(refusal)));
    if let Ok(reason) = HeaderValue::try_from(percent_encoded(&refusal.reason())) {
        headers.insert(MESSAGE, reason);
    }
    response
}

/// Text as `grpc-message` has it: bytes outside printable ASCII, and `%`, as `%41`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The body that says it worked: a message without fields, then the status.
enum Answer {
    Message,
    Status,
    Nothing,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let (frame, next) = match *self {
            Self::Message => (Frame::data(Bytes::from_static(&[0; PREFIX])), Self::Status),
            Self::Status => (Frame::trailers(HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))])), Self::Nothing),
            Self::Nothing => return Poll::Ready(None),
        };
        *self = next;
        Poll::Ready(Some(Ok(frame)))
    }
}

const PREFIX: usize = 5;
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const HEAD: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "application/grpc"), (HeaderName::from_static("grpc-accept-encoding"), "identity,gzip,deflate")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_message() {
        let of = |bytes: &'static [u8]| message(&Bytes::from_static(bytes)).map(|(packed, message)| (packed, message.to_vec()));
        assert_eq!(of(b"\0\0\0\0\x02ab"), Ok((false, b"ab".to_vec())));
        assert_eq!(of(b"\x01\0\0\0\0"), Ok((true, Vec::new())));
        for bad in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\x01ab", b"\x02\0\0\0\0", b"\0\xff\xff\xff\xffab"] {
            assert!(message(&Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reasons_are_ascii() {
        assert_eq!(percent_encoded("50 % über\n"), "50 %25 %C3%BCber%0A");
    }
}
