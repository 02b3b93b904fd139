//! What macOS notes of changes to files (`.fseventsd`): pages of paths with what happened to them since the page before. No times.

use std::borrow::Cow;

use crate::bytes::Bytes;
use crate::{Map, Parsed, Problem, Value};

/// Bytes before a page's records: its version, a checksum or zero, and its length.
const HEADER: usize = 12;

/// How many bytes the page at the start takes; `None` if none starts here.
pub(crate) fn extent(raw: &[u8]) -> Option<usize> {
    version(raw)?;
    let len = Bytes::from(raw, 8)?.le32()? as usize;
    (HEADER..=1 << 26).contains(&len).then_some(len)
}

fn version(raw: &[u8]) -> Option<u8> {
    match raw {
        [version @ b'1'..=b'3', b'S', b'L', b'D', ..] => Some(version - b'0'),
        _ => None,
    }
}

/// Reads the records of a page, each a part of the record.
pub(crate) fn feed(key: u64, number: u64, raw: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) {
    let event = |part, native, problems, raw| Parsed {
        records: vec![key],
        part,
        number,
        raw: Cow::Borrowed(raw),
        decoder: "macos.fsevents",
        native,
        time: None,
        head: None,
        problems,
    };
    let version = version(raw).unwrap_or_default();
    let Some(mut bytes) = Bytes::from(raw, HEADER) else { return };
    let mut part = 0;
    while !bytes.rest().is_empty() {
        let start = bytes.position();
        let Some(native) = record(version, &mut bytes) else {
            let detail = Cow::Borrowed("the page ends inside a record");
            let cut = Problem { code: "fsevents.truncated", offset: start as u64, detail };
            return emit(event(part, Map::new(), vec![cut], raw));
        };
        emit(event(part, native, Vec::new(), &raw[start..bytes.position()]));
        part += 1;
    }
}

fn record<'a>(version: u8, bytes: &mut Bytes<'a>) -> Option<Map<'a>> {
    let path = String::from_utf8_lossy(bytes.c_string()?);
    let (id, flags) = (bytes.le64()?, bytes.le32()?);
    let mut native = Map(Vec::with_capacity(5));
    // Written without the slash that all of them start with.
    native.push("path", if path.starts_with('/') { path } else { Cow::Owned(format!("/{path}")) });
    native.push("event_id", Value::Uint(id));
    let names = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| Value::from(*name));
    native.push("flags", Value::List(names.collect()));
    if version > 1 {
        native.push("node_id", Value::Uint(bytes.le64()?));
    }
    if version > 2 {
        bytes.take(4)?;
    }
    Some(native)
}

/// What the bits say; one record may gather several changes.
const FLAGS: [(u32, &str); 21] = [
    (0x1, "folder_event"),
    (0x2, "mount"),
    (0x4, "unmount"),
    (0x20, "end_of_transaction"),
    (0x800, "last_hard_link_removed"),
    (0x1000, "hard_link"),
    (0x4000, "symbolic_link"),
    (0x8000, "file"),
    (0x1_0000, "permission_changed"),
    (0x2_0000, "extended_attribute_modified"),
    (0x4_0000, "extended_attribute_removed"),
    (0x10_0000, "document_revisioning"),
    (0x40_0000, "item_cloned"),
    (0x100_0000, "created"),
    (0x200_0000, "removed"),
    (0x400_0000, "inode_metadata_modified"),
    (0x800_0000, "renamed"),
    (0x1000_0000, "modified"),
    (0x2000_0000, "exchanged"),
    (0x4000_0000, "finder_info_modified"),
    (0x8000_0000, "folder_created"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let mut raw = b"2SLD\0\0\0\0".to_vec();
        raw.extend_from_slice(&35u32.to_le_bytes());
        raw.extend_from_slice(b"a\0");
        raw.extend_from_slice(&9u64.to_le_bytes());
        raw.extend_from_slice(&0x0100_8000u32.to_le_bytes());
        raw.extend_from_slice(&77u64.to_le_bytes());
        raw.push(b'b');
        assert_eq!(extent(&raw), Some(raw.len()));
        let mut seen = Vec::new();
        feed(1, 1, &raw, &mut |parsed| {
            seen.push((serde_json::to_string(&parsed.native).expect("fields serialise"), parsed.problems.len()));
        });
        let want = r#"{"path":"/a","event_id":9,"flags":["file","created"],"node_id":77}"#;
        assert_eq!(seen, [(want.to_owned(), 0), ("{}".to_owned(), 1)]);
    }
}
