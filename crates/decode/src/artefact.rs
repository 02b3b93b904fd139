//! Files that are known by how they start and are no logs: named as what they are, with what reads them.

use std::borrow::Cow;

use crate::Problem;

/// A kind of file that holds state, not events in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    /// As in `sqlite`.
    pub(crate) name: &'static str,
    /// What it is and what to do with it.
    pub(crate) detail: &'static str,
}

impl Kind {
    /// The kind that the first bytes say.
    pub(crate) fn told_by(head: &[u8]) -> Option<Self> {
        KINDS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| *kind).or_else(|| is_plist(head).then_some(PLIST))
    }

    pub(crate) fn problem(self) -> Problem {
        Problem { code: "artefact.not_a_log", offset: 0, detail: Cow::Borrowed(self.detail) }
    }

    /// Whether such a file is one record, as far as one record goes; others come in pieces of 64 KiB.
    pub(crate) fn is_whole(self) -> bool {
        self == PLIST || self == BINARY_PLIST
    }
}

/// A property list as XML: told by its document type or its first element.
fn is_plist(head: &[u8]) -> bool {
    let head = head.trim_ascii_start();
    let head = &head[..head.len().min(512)];
    head.starts_with(b"<plist") || (head.starts_with(b"<?xml") && memchr::memmem::find(head, b"<!DOCTYPE plist").is_some())
}

const PLIST: Kind = Kind {
    name: "plist",
    detail: "a property list, which holds settings and state and no events in order; `plutil -p` shows it",
};
const BINARY_PLIST: Kind = Kind {
    name: "plist.binary",
    detail: "a binary property list, which holds settings and state and no events in order; `plutil -p` shows it",
};

const KINDS: &[(&[u8], Kind)] = &[
    (
        b"SQLite format 3\0",
        Kind {
            name: "sqlite",
            detail: "an SQLite database; export its tables as CSV or JSON lines (`sqlite3 -csv -header`) to read them as events",
        },
    ),
    (b"bplist00", BINARY_PLIST),
    (
        b"LPKSHHRH",
        Kind {
            name: "journal",
            detail: "a journal file of systemd; `journalctl --file NAME -o export` writes the form that is read here",
        },
    ),
    (b"cook\0\0", Kind { name: "binarycookies", detail: "cookies of a browser of Apple's, which are no events" }),
    (
        b"ANDROID BACKUP\n",
        Kind { name: "android.backup", detail: "an Android backup; unpack it first, what is inside is read if it is known" },
    ),
    (
        b"\x99\x88\x77\x66",
        Kind { name: "uuidtext", detail: "texts of messages of Apple's unified log, which belong to `.tracev3` files" },
    ),
    (
        b"hcsd",
        Kind { name: "uuidtext.dsc", detail: "texts of messages of Apple's unified log, which belong to `.tracev3` files" },
    ),
    (
        b"\xB0\xBB\x30\x00",
        Kind { name: "timesync", detail: "the clocks of Apple's unified log, which belong to `.tracev3` files" },
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_start() {
        let name = |head: &[u8]| Kind::told_by(head).map(|kind| kind.name);
        assert_eq!(name(b"SQLite format 3\0\x10"), Some("sqlite"));
        assert_eq!(name(b"\n<?xml version=\"1.0\"?>\n<!DOCTYPE plist PUBLIC"), Some("plist"));
        assert_eq!(name(b"<?xml version=\"1.0\"?>\n<Event>"), None);
        assert_eq!(name(b"SQLite format"), None);
        assert_eq!(name(b""), None);
    }
}
