//! Where one syslog message ends and the next begins on a stream.
//!
//! Both ways of RFC 6587 are told apart for each message: octet counting (`LENGTH SP <PRI>…`) and a trailer (LF, or NUL as some
//! senders have it). Whatever the bytes, and however they are split into reads, every byte that is not framing comes out in a message.
use bytes::{Buf, Bytes, BytesMut};

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no trailer, so that a long line that arrives in small reads is searched once.
    searched: usize,
    state: State,
    message_bytes_max: usize,
    /// NUL alone ends a message, and no message is counted.
    only_nul: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a message; how it is framed is not known yet.
    Start,
    /// In a message that ends with LF or NUL; `cut` if pieces of it were already given out.
    Line { cut: bool },
    /// In an octet-counted message of which so many bytes are still to come.
    Counted { left: usize, cut: bool },
}

/// A message, or a piece of one that was too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Without length prefix or trailer.
    pub bytes: Bytes,
    /// What was wrong with it.
    pub problem: Option<FramingProblem>,
}

/// What can be wrong with a message's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingProblem {
    /// Longer than allowed: given out in pieces, of which this is one.
    Oversize,
    /// The stream ended inside it.
    Incomplete,
}

impl FramingProblem {
    /// The name it is counted under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversize => "oversize_split",
            Self::Incomplete => "incomplete_at_close",
        }
    }
}

impl Framer {
    /// A framer at the start of a stream. Longer messages than `message_bytes_max` are cut in pieces of that size.
    pub fn new(message_bytes_max: usize) -> Self {
        let message_bytes_max = message_bytes_max.max(1);
        Self { buffer: BytesMut::new(), searched: 0, state: State::Start, message_bytes_max, only_nul: false }
    }

    /// A framer for messages that end with NUL and may hold line feeds, as GELF has them.
    pub fn until_nul(message_bytes_max: usize) -> Self {
        Self { only_nul: true, ..Self::new(message_bytes_max) }
    }

    /// The buffer that reads append to. Whole messages are taken out with [`Framer::next`]; call it until it has none before reading more.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message, if it has arrived.
    #[allow(clippy::should_implement_trait, reason = "more may come after `None`, which an iterator forbids")]
    pub fn next(&mut self) -> Option<Message> {
        loop {
            match self.state {
                State::Start => self.begin()?,
                State::Line { cut } => match self.line(cut) {
                    Step::Message(message) => return Some(message),
                    Step::Nothing => {}
                    Step::More => return None,
                },
                State::Counted { left, cut } => match self.counted(left, cut) {
                    Step::Message(message) => return Some(message),
                    Step::Nothing => {}
                    Step::More => return None,
                },
            }
        }
    }

    /// What is left when the stream has ended; call after [`Framer::next`] has no more.
    pub fn finish(&mut self) -> Option<Message> {
        let bytes = self.buffer.split().freeze();
        let state = std::mem::replace(&mut self.state, State::Start);
        self.searched = 0;
        // A last line without its trailer is whole as far as anyone can tell; a counted message is not.
        let problem = matches!(state, State::Counted { .. }).then_some(FramingProblem::Incomplete);
        (!bytes.is_empty()).then_some(Message { bytes, problem })
    }

    /// Finds out how the message at the start of the buffer is framed. `None`: more bytes are needed for that.
    fn begin(&mut self) -> Option<()> {
        // Trailers after a counted message, empty lines, CRLF after NUL.
        let skip = self.buffer.iter().take_while(|byte| matches!(byte, b'\n' | 0 | b'\r')).count();
        self.buffer.advance(skip);
        self.searched = 0;
        let first = *self.buffer.first()?;
        if self.only_nul || !(b'1'..=b'9').contains(&first) {
            self.state = State::Line { cut: false };
            return Some(());
        }
        let digits = self.buffer.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
        // Each byte that could still make it a counted message is waited for; the first that cannot decides for a line.
        self.state = match (digits > LENGTH_DIGITS_MAX, self.buffer.get(digits), self.buffer.get(digits + 1)) {
            (true, ..) => State::Line { cut: false },
            (_, None, _) | (_, Some(b' '), None) => return None,
            (_, Some(b' '), Some(b'<')) => {
                let left = self.buffer[..digits].iter().fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
                self.buffer.advance(digits + 1);
                State::Counted { left, cut: false }
            }
            _ => State::Line { cut: false },
        };
        Some(())
    }

    fn line(&mut self, cut: bool) -> Step {
        let rest = &self.buffer[self.searched..];
        let end = if self.only_nul { memchr::memchr(0, rest) } else { memchr::memchr2(b'\n', 0, rest) };
        let end = end.map(|at| at + self.searched);
        match end {
            Some(end) if end <= self.message_bytes_max => {
                let bytes = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                self.state = State::Start;
                self.searched = 0;
                piece(bytes, cut)
            }
            None if self.buffer.len() <= self.message_bytes_max => {
                self.searched = self.buffer.len();
                Step::More
            }
            _ => {
                self.state = State::Line { cut: true };
                self.searched = 0;
                piece(self.buffer.split_to(self.message_bytes_max).freeze(), true)
            }
        }
    }

    fn counted(&mut self, left: usize, cut: bool) -> Step {
        if left > self.message_bytes_max {
            if self.buffer.len() < self.message_bytes_max {
                return Step::More;
            }
            self.state = State::Counted { left: left - self.message_bytes_max, cut: true };
            return piece(self.buffer.split_to(self.message_bytes_max).freeze(), true);
        }
        if self.buffer.len() < left {
            return Step::More;
        }
        self.state = State::Start;
        piece(self.buffer.split_to(left).freeze(), cut)
    }
}

enum Step {
    Message(Message),
    Nothing,
    More,
}

fn piece(bytes: Bytes, cut: bool) -> Step {
    if bytes.is_empty() {
        return Step::Nothing;
    }
    Step::Message(Message { bytes, problem: cut.then_some(FramingProblem::Oversize) })
}

/// Digits a message length may have: just under 100 MB. A longer number is text.
const LENGTH_DIGITS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(reads: &[&[u8]], max: usize) -> Vec<Message> {
        let mut framer = Framer::new(max);
        let mut out = Vec::new();
        for read in reads {
            framer.buffer().extend_from_slice(read);
            while let Some(message) = framer.next() {
                out.push(message);
            }
        }
        out.extend(framer.finish());
        out
    }

    /// Streams made of the pieces that matter, with some noise.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"<13>a line\n".to_vec()),
            Just(b"<13>nul ended\0".to_vec()),
            Just(b"12 <13>countedx".to_vec()),
            Just(b"12 <13>countedx\n".to_vec()),
            Just(b"30 <13>counted\nwith\0both inside".to_vec()),
            Just(b"12 no pri\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"123456789 <1>too many digits\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_into_reads_gives_the_same_messages(stream in stream(), cuts in proptest::collection::vec(0_usize..400, 0..20), max in 1_usize..64) {
            let whole = messages(&[&stream], max);
            let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            at.push(0);
            at.push(stream.len());
            at.sort_unstable();
            let reads: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(&whole, &messages(&reads, max));
            prop_assert!(whole.iter().all(|message| !message.bytes.is_empty() && message.bytes.len() <= max));
        }

        #[test]
        fn lines_lose_nothing_but_their_trailers(lines in proptest::collection::vec("[<a-z][ -~]{0,50}", 0..20)) {
            let stream = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let got: Vec<Vec<u8>> = messages(&[stream.as_bytes()], 1 << 20).into_iter().map(|message| message.bytes.to_vec()).collect();
            let want: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn nul_alone_ends_a_message_where_that_is_so() {
        let mut framer = Framer::until_nul(100);
        framer.buffer().extend_from_slice(b"{\n\"a\":1}\0\n12 <13>\0\0{\"b\"");
        let got: Vec<Message> = std::iter::from_fn(|| framer.next()).collect();
        assert_eq!(got.iter().map(|message| &message.bytes[..]).collect::<Vec<_>>(), [&b"{\n\"a\":1}"[..], b"12 <13>"]);
        assert_eq!(framer.finish().map(|message| message.bytes), Some(Bytes::from_static(b"{\"b\"")));
    }

    #[test]
    fn a_long_line_comes_out_in_pieces() {
        let got = messages(&[&[b'x'; 25]], 10);
        assert_eq!(got.iter().map(|message| message.bytes.len()).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(got[0].problem, Some(FramingProblem::Oversize));
    }
}
