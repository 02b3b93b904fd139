//! `POST /upload`: what `systemd-journal-upload` sends. A body may be a whole journal; it is kept while it streams in.
use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::{FutureExt as _, StreamExt as _};
use reeve_record::Transport;
use std::sync::Arc;

use crate::{
    Arrival,
    export::{Entries, Entry},
    http::{Api, Refusal, Shared},
    stream::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Peer},
};

/// Answers an upload with 202 when all of its entries are durable. Of an upload that is refused or breaks off, the entries kept by then stay.
pub(crate) async fn answer(shared: &Shared, peer: &Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut upload = Upload::new(shared, peer);
    match upload.take(&parts.headers, body).await {
        Ok(()) => (StatusCode::ACCEPTED, "OK.\n").into_response(),
        Err(refusal) => shared.turn_away(&refusal, Api::Journal, &parts.headers),
    }
}

struct Upload<'a> {
    shared: &'a Shared,
    source: Arc<str>,
    entries: Entries,
    batch: Vec<Arrival>,
    batch_bytes: usize,
}

impl<'a> Upload<'a> {
    fn new(shared: &'a Shared, peer: &Peer) -> Self {
        let entries = Entries::new(shared.limits.record_bytes_max);
        Self { shared, source: peer.source("journal"), entries, batch: Vec::new(), batch_bytes: 0 }
    }

    async fn take(&mut self, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
        if headers.contains_key(header::CONTENT_ENCODING) {
            let (body, _room) = self.shared.body(headers, body).await?;
            for part in body.chunks(BATCH_BYTES_MAX) {
                self.read(part).await?;
            }
        } else {
            self.stream(body.into_data_stream()).await?;
        }
        let last = self.entries.finish();
        last.into_iter().for_each(|entry| self.add(entry));
        self.keep().await
    }

    async fn stream(&mut self, mut body: BodyDataStream) -> Result<(), Refusal> {
        // What is held at once: one batch, and one entry that has not come to its end, which may be large.
        let mut room = self.shared.room(2 * BATCH_BYTES_MAX).await?;
        loop {
            self.shared.widen(&mut room, BATCH_BYTES_MAX + self.entries.buffer().len()).await?;
            let next = match body.next().now_or_never() {
                Some(next) => next,
                // Nothing more at the moment: a client that goes on for hours has its entries kept meanwhile.
                None => {
                    self.keep().await?;
                    let waited = tokio::time::timeout(self.shared.limits.idle, body.next()).await;
                    waited.map_err(|_| Refusal::Incomplete)?
                }
            };
            match next {
                Some(Ok(chunk)) => self.read(&chunk).await?,
                Some(Err(_)) => return Err(Refusal::Incomplete),
                None => return Ok(()),
            }
        }
    }

    async fn read(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.entries.buffer().extend_from_slice(bytes);
        loop {
            match self.entries.next() {
                Ok(Some(entry)) => self.add(entry),
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.keep().await?;
                    return Err(Refusal::Malformed(format!("this is not the journal's export format: {error}")));
                }
            }
            if self.batch_bytes >= BATCH_BYTES_MAX || self.batch.len() >= BATCH_RECORDS_MAX {
                self.keep().await?;
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        if let Some(problem) = entry.problem {
            self.shared.intake.counters.source(&self.source).problem(problem, 1);
        }
        self.batch_bytes += entry.raw.len();
        let arrival = Arrival::new(entry.raw, self.source.clone(), Transport::JournalUpload);
        self.batch.push(Arrival { claimed: entry.claimed, ..arrival });
    }

    async fn keep(&mut self) -> Result<(), Refusal> {
        self.batch_bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        self.shared.intake.keep(std::mem::take(&mut self.batch)).await.map(drop).map_err(Refusal::Keep)
    }
}
