//! RELP: syslog over a stream on which every message is answered, here once it is durable.
//!
//! A frame is `TXNR SP COMMAND SP DATALEN [SP DATA] LF`. The client may send on without waiting for answers; they come in the order of the
//! frames. What was not answered when a connection ends, the client sends again on the next.
use bytes::{Buf, Bytes, BytesMut};
use reeve_record::Transport;
use tokio::sync::watch;

use crate::{
    Arrival, Error, Intake, KeepError, Place, Running, StreamLimits,
    stream::{self, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Heard, Link},
};

/// Opens a RELP listener, over TLS if the place has it. Each `syslog` frame is answered with 200 once its message is durable, and with 500,
/// after which the connection is closed, when it cannot be kept. Stops when `stop` turns true.
///
/// # Errors
/// [`Error::Bind`] if the address cannot be listened on.
pub async fn serve_relp(
    place: &Place,
    intake: Intake,
    limits: StreamLimits,
    stop: watch::Receiver<bool>,
) -> Result<Running, Error> {
    stream::serve(place, intake, limits, stop, |link| Session::new(link).run()).await
}

/// A frame, or a piece of a message that was too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The session begins; the data are offers.
    Open {
        /// Number that the answer repeats.
        txnr: u32,
    },
    /// A message to keep.
    Syslog {
        /// Number that the answer repeats; `None` for a piece that is followed by more of the same message.
        txnr: Option<u32>,
        /// The message.
        data: Bytes,
        /// Whether this is a piece of a message that was too long.
        cut: bool,
    },
    /// The session ends.
    Close {
        /// Number that the answer repeats.
        txnr: u32,
    },
    /// Some other command.
    Unknown {
        /// Number that the answer repeats.
        txnr: u32,
    },
}

/// What can be wrong with a stream of frames; nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The head is not number, command, length.
    #[error("the head of a frame is not `TXNR COMMAND DATALEN`")]
    Head,
    /// The data do not end where their length says.
    #[error("a frame does not end with a line feed where its length says")]
    Trailer,
    /// A command other than `syslog` brings more data than there is use for.
    #[error("a frame other than `syslog` is too long")]
    Long,
}

impl FrameError {
    /// The name it is counted under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "relp_head",
            Self::Trailer => "relp_trailer",
            Self::Long => "relp_too_long",
        }
    }
}

/// Cuts a stream into frames.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    /// A message of which pieces were given out: its number, and how much of it is still to come.
    inside: Option<(u32, usize)>,
    message_bytes_max: usize,
}

impl Frames {
    /// Frames from the start of a stream. Longer messages than `message_bytes_max` come out in pieces of that size.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), inside: None, message_bytes_max: message_bytes_max.max(1) }
    }

    /// The buffer that reads append to.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame, if it has arrived.
    ///
    /// # Errors
    /// [`FrameError`]; nothing more can be read then.
    #[allow(clippy::should_implement_trait, reason = "more may come after `None`, which an iterator forbids")]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some((txnr, left)) = self.inside {
            return self.piece(txnr, left);
        }
        let Some(head) = head(&self.buffer)? else { return Ok(None) };
        let syslog = self.buffer.get(head.command.clone()) == Some(b"syslog");
        if syslog && head.length > self.message_bytes_max {
            self.buffer.advance(head.data);
            return self.piece(head.txnr, head.length);
        }
        if !syslog && head.length > COMMAND_BYTES_MAX {
            return Err(FrameError::Long);
        }
        let end = head.data + head.length;
        match self.buffer.get(end) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(FrameError::Trailer),
        }
        let txnr = head.txnr;
        let frame = match &self.buffer[head.command] {
            b"open" => Frame::Open { txnr },
            b"close" => Frame::Close { txnr },
            b"syslog" => {
                self.buffer.advance(head.data);
                let data = self.buffer.split_to(head.length).freeze();
                self.buffer.advance(1);
                return Ok(Some(Frame::Syslog { txnr: Some(txnr), data, cut: false }));
            }
            _ => Frame::Unknown { txnr },
        };
        self.buffer.advance(end + 1);
        Ok(Some(frame))
    }

    /// Gives out a piece of a long message; the last one with the message's number.
    fn piece(&mut self, txnr: u32, left: usize) -> Result<Option<Frame>, FrameError> {
        self.inside = Some((txnr, left));
        let size = left.min(self.message_bytes_max);
        let last = size == left;
        if self.buffer.len() < size + usize::from(last) {
            return Ok(None);
        }
        let data = self.buffer.split_to(size).freeze();
        if last {
            if self.buffer.first() != Some(&b'\n') {
                return Err(FrameError::Trailer);
            }
            self.buffer.advance(1);
        }
        self.inside = (!last).then_some((txnr, left - size));
        Ok(Some(Frame::Syslog { txnr: last.then_some(txnr), data, cut: true }))
    }
}

/// The head of a frame, and where in the buffer its parts are.
struct Head {
    txnr: u32,
    command: std::ops::Range<usize>,
    length: usize,
    /// Where the data begin; if there are none, where the line feed is.
    data: usize,
}

/// Reads a head; `None` if it has not arrived whole.
fn head(buffer: &[u8]) -> Result<Option<Head>, FrameError> {
    let Some((txnr, at)) = number(buffer, 0)? else { return Ok(None) };
    let word = buffer.get(at..).unwrap_or_default();
    let letters = word.iter().take(COMMAND_LETTERS_MAX + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    match word.get(letters) {
        None if letters <= COMMAND_LETTERS_MAX => return Ok(None),
        Some(b' ') if letters > 0 => {}
        _ => return Err(FrameError::Head),
    }
    let command = at..at + letters;
    let digits = at + letters + 1;
    // A length of 0 is followed by the line feed at once.
    if buffer.get(digits..digits + 2) == Some(b"0\n") {
        return Ok(Some(Head { txnr, command, length: 0, data: digits + 1 }));
    }
    Ok(number(buffer, digits)?.map(|(length, data)| Head { txnr, command, length: length as usize, data }))
}

/// A number of at most nine digits and the space after it; where that ends.
fn number(buffer: &[u8], from: usize) -> Result<Option<(u32, usize)>, FrameError> {
    let rest = buffer.get(from..).unwrap_or_default();
    let digits = rest.iter().take(NUMBER_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits) {
        None if digits <= NUMBER_DIGITS_MAX => Ok(None),
        Some(b' ') if (1..=NUMBER_DIGITS_MAX).contains(&digits) => {
            let number = rest[..digits].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
            Ok(Some((number, from + digits + 1)))
        }
        _ => Err(FrameError::Head),
    }
}

/// A connection.
struct Session {
    link: Link,
    source: std::sync::Arc<str>,
    frames: Frames,
    is_open: bool,
}

/// What a round over the frames that have arrived comes to.
#[derive(Default)]
struct Round {
    batch: Vec<Arrival>,
    /// Numbers of messages whose last byte is in the batch.
    whole: Vec<u32>,
    /// Answers that wait for nothing, after those to `whole`.
    answers: Vec<u8>,
    /// Nothing more is read after this round.
    ends: bool,
}

impl Session {
    fn new(link: Link) -> Self {
        let (source, frames) = (link.peer.source("syslog"), Frames::new(link.limits.message_bytes_max));
        Self { link, source, frames, is_open: false }
    }

    async fn run(mut self) {
        loop {
            let heard = self.link.hear(self.frames.buffer(), BATCH_BYTES_MAX).await;
            if heard == Heard::Bytes {
                self.source = self.link.peer.source("syslog");
            }
            let Ok(ends) = self.answer_frames().await else { break };
            match heard {
                Heard::Bytes if ends => break,
                Heard::Bytes => {}
                Heard::End => break,
                Heard::Disabled => {
                    // A session opens with the number 1. Of one that is open, what is not answered comes again on the next.
                    let refusal = if self.is_open { Vec::new() } else { response(1, &["500 the source is disabled"]) };
                    self.link.say(&[refusal, b"0 serverclose 0\n".to_vec()].concat()).await;
                    break;
                }
                Heard::Broken(reason) => {
                    self.link.intake.counters.source(&self.source).problem(reason, 1);
                    return;
                }
                Heard::Stop => {
                    self.link.say(b"0 serverclose 0\n").await;
                    break;
                }
            }
        }
        self.link.close().await;
    }

    /// Keeps and answers what has arrived whole; true at the session's end, an error if the client does not take answers.
    async fn answer_frames(&mut self) -> Result<bool, ()> {
        loop {
            let round = self.round();
            let nothing = round.batch.is_empty() && round.whole.is_empty() && round.answers.is_empty();
            if nothing {
                return Ok(round.ends);
            }
            let (answers, refused) = self.keep(round.batch, &round.whole).await;
            let said = [answers, if refused { b"0 serverclose 0\n".to_vec() } else { round.answers }].concat();
            if !said.is_empty() && !self.link.say(&said).await {
                return Err(());
            }
            if refused || round.ends {
                return Ok(true);
            }
        }
    }

    /// Takes frames up to one that is no message.
    fn round(&mut self) -> Round {
        let mut round = Round::default();
        while round.answers.is_empty() && !round.ends && round.whole.len() < BATCH_RECORDS_MAX {
            match self.frames.next() {
                Ok(Some(frame)) => self.take(frame, &mut round),
                Ok(None) => break,
                Err(error) => {
                    self.problem(error.name());
                    round.answers = b"0 serverclose 0\n".to_vec();
                    round.ends = true;
                }
            }
        }
        round
    }

    fn take(&mut self, frame: Frame, round: &mut Round) {
        match frame {
            Frame::Open { txnr } => {
                self.is_open = true;
                round.answers = response(txnr, &["200 OK\nrelp_version=0\nrelp_software=reeve\ncommands=syslog\n"]);
            }
            Frame::Syslog { .. } if !self.is_open => {
                self.problem("relp_not_open");
                round.answers = b"0 serverclose 0\n".to_vec();
                round.ends = true;
            }
            Frame::Syslog { txnr, data, cut } => {
                if cut {
                    self.problem("oversize_split");
                }
                if data.is_empty() {
                    self.problem("empty_message");
                } else {
                    round.batch.push(Arrival::new(data, self.source.clone(), Transport::Relp));
                }
                round.whole.extend(txnr);
            }
            Frame::Close { txnr } => {
                round.answers = [response(txnr, &[]), b"0 serverclose 0\n".to_vec()].concat();
                round.ends = true;
            }
            Frame::Unknown { txnr } => round.answers = response(txnr, &["500 the command is not known here\n"]),
        }
    }

    /// The answers to the messages of a batch, and whether they were refused.
    async fn keep(&mut self, batch: Vec<Arrival>, whole: &[u32]) -> (Vec<u8>, bool) {
        let kept = match batch.is_empty() {
            true => Ok(()),
            false => self.link.intake.keep_in_time(batch, self.link.stop.clone()).await,
        };
        let answer = |words: &[&str]| whole.iter().flat_map(|txnr| response(*txnr, words)).collect();
        match kept {
            Ok(()) => (answer(&["200 OK"]), false),
            Err(error) => (answer(&["500 ", refusal(&error)]), true),
        }
    }

    fn problem(&self, name: &'static str) {
        self.link.intake.counters.source(&self.source).problem(name, 1);
    }
}

fn refusal(error: &KeepError) -> &'static str {
    match error {
        KeepError::Overloaded => "overloaded, send again",
        KeepError::Full(_) => "no space left, send again later",
        KeepError::Stopping => "stopping, send again",
        KeepError::Failed(_) => "not durable, send again",
    }
}

fn response(txnr: u32, words: &[&str]) -> Vec<u8> {
    let data = words.concat();
    if data.is_empty() {
        return format!("{txnr} rsp 0\n").into_bytes();
    }
    format!("{txnr} rsp {} {data}\n", data.len()).into_bytes()
}

const NUMBER_DIGITS_MAX: usize = 9;
const COMMAND_LETTERS_MAX: usize = 32;
/// Offers of `open` are some hundred bytes.
const COMMAND_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(stream: &[u8], step: usize, max: usize) -> (Vec<Frame>, Option<FrameError>) {
        let mut frames = Frames::new(max);
        let mut out = Vec::new();
        for part in stream.chunks(step) {
            frames.buffer().extend_from_slice(part);
            loop {
                match frames.next() {
                    Ok(Some(frame)) => out.push(frame),
                    Ok(None) => break,
                    Err(error) => return (out, Some(error)),
                }
            }
        }
        (out, None)
    }

    #[test]
    fn a_session_as_librelp_sends_it() {
        let stream = b"1 open 87 relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n\n2 syslog 5 <13>a\n3 syslog 0\n4 close 0\n";
        let (got, error) = frames(stream, 7, 100);
        assert_eq!(error, None);
        let message = |txnr, data: &'static [u8]| Frame::Syslog { txnr: Some(txnr), data: Bytes::from_static(data), cut: false };
        assert_eq!(got, [Frame::Open { txnr: 1 }, message(2, b"<13>a"), message(3, b""), Frame::Close { txnr: 4 }]);
    }

    #[test]
    fn a_long_message_comes_in_pieces_and_is_answered_once() {
        let (got, error) = frames(b"7 syslog 10 0123456789\n", 3, 4);
        assert_eq!(error, None);
        let piece = |txnr, data: &'static [u8]| Frame::Syslog { txnr, data: Bytes::from_static(data), cut: true };
        assert_eq!(got, [piece(None, b"0123"), piece(None, b"4567"), piece(Some(7), b"89")]);
    }

    #[test]
    fn broken_frames_are_named() {
        for (stream, error) in [
            (&b"x open 0\n"[..], FrameError::Head),
            (b"1  open 0\n", FrameError::Head),
            (b"1234567890 open 0\n", FrameError::Head),
            (b"1 syslog 2 abc\n", FrameError::Trailer),
            (b"1 syslog 10 0123456789x", FrameError::Trailer),
            (b"1 open 999999999 a", FrameError::Long),
            (b"1 syslog 9999999999 a", FrameError::Head),
            (b"9999999999 open 0\n", FrameError::Head),
        ] {
            assert_eq!(frames(stream, 1, 4).1, Some(error), "{}", String::from_utf8_lossy(stream));
            assert_eq!(frames(stream, 100, 4).1, Some(error), "{}", String::from_utf8_lossy(stream));
        }
    }

    proptest! {
        #[test]
        fn any_split_into_reads_gives_the_same_frames(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"1 open 3 abc\n".to_vec()), Just(b"2 syslog 4 <1>a\n".to_vec()), Just(b"3 syslog 11 0123456789a\n".to_vec()),
                Just(b"4 close 0\n".to_vec()), Just(b"5 syslog 0\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..12),
            ], 0..10),
            step in 1_usize..20,
            max in 1_usize..8,
        ) {
            let stream = pieces.concat();
            let whole = frames(&stream, stream.len().max(1), max);
            prop_assert_eq!(&whole, &frames(&stream, step, max));
            let within = |frame: &Frame| !matches!(frame, Frame::Syslog { data, .. } if data.len() > max);
            prop_assert!(whole.0.iter().all(within));
        }
    }
}
