//! Basic Security Module audit trails of macOS, FreeBSD and Solaris, as OpenBSM writes them (audit.log(5)): records of tokens, big endian.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::bytes::{Bytes, until_nul};
use crate::{Map, Problem, Value};

/// Shortest record: a header and a trailer.
pub(crate) const RECORD_MIN: usize = 18 + TRAILER;
/// A record longer than this is no record: the kernel writes 32 KiB at most, and its own files start and end with short ones.
const RECORD_MAX: usize = 1 << 20;
const TRAILER: usize = 7;
const TRAILER_MAGIC: u16 = 0xB105;

/// How many bytes the record at the start takes; `None` if none starts here.
pub(crate) fn extent(raw: &[u8]) -> Option<usize> {
    let mut bytes = Bytes::new(raw);
    match bytes.u8()? {
        0x14 | 0x15 | 0x74 | 0x79 => {
            let len = bytes.be32()? as usize;
            let version = bytes.u8()?;
            ((RECORD_MIN..=RECORD_MAX).contains(&len) && (1..=11).contains(&version)).then_some(len)
        }
        // A file token names the trail before or after this one.
        0x11 => {
            bytes.take(8)?;
            Some(11 + usize::from(bytes.be16()?))
        }
        _ => None,
    }
}

/// Whether bytes start with a whole record whose trailer repeats its length.
pub(crate) fn is_file(head: &[u8]) -> bool {
    extent(head).is_some_and(|len| match head.first() {
        Some(0x11) => {
            head.get(len - 1) == Some(&0) && head.get(len).is_some_and(|next| matches!(next, 0x14 | 0x15 | 0x74 | 0x79))
        }
        _ => has_trailer(head, len),
    })
}

fn has_trailer(raw: &[u8], len: usize) -> bool {
    let Some(mut bytes) = len.checked_sub(TRAILER).and_then(|at| Bytes::from(raw, at)) else { return false };
    bytes.u8() == Some(0x13) && bytes.be16() == Some(TRAILER_MAGIC) && bytes.be32() == Some(len as u32)
}

/// What a record says; `None` if the bytes are no record.
///
/// Fields: `event_type`, `event` where its name is known, `modifier`, `subject`, then one field for each kind of token, a list where a
/// record has several. Problems name the token at which a record stops making sense.
pub(crate) fn read(raw: &[u8]) -> Option<(Map<'_>, Option<EventTime>, Vec<Problem>)> {
    if extent(raw)? != raw.len() {
        return None;
    }
    let mut bytes = Bytes::new(raw);
    let kind = bytes.u8()?;
    if kind != 0x11 && !has_trailer(raw, raw.len()) {
        return None;
    }
    let (mut native, mut problems) = (Map(Vec::with_capacity(12)), Vec::new());
    let time = if kind == 0x11 { trail(&mut bytes, &mut native) } else { header(kind, &mut bytes, &mut native) }?;
    while kind != 0x11 && bytes.rest().len() > TRAILER {
        let at = bytes.position();
        let token = bytes.u8()?;
        let Some((name, value)) = read_token(token, &mut bytes) else {
            let detail = format!("token {token:#04x} is unknown or cut off; what follows it was not read");
            problems.push(Problem { code: "bsm.token", offset: at as u64, detail: Cow::Owned(detail) });
            break;
        };
        put(&mut native, name, value);
    }
    Some((native, Some(time), problems))
}

/// Another value under a name makes a list of both.
fn put<'a>(native: &mut Map<'a>, name: &'static str, value: Value<'a>) {
    match native.0.iter_mut().find(|(known, _)| known == name) {
        Some((_, Value::List(items))) if name != "exec_args" && name != "exec_env" => items.push(value),
        Some((_, only)) => *only = Value::List(vec![std::mem::replace(only, Value::Null), value]),
        None => native.push(name, value),
    }
}

fn trail<'a>(bytes: &mut Bytes<'a>, native: &mut Map<'a>) -> Option<EventTime> {
    let time = moment(i64::from(bytes.be32()?), i64::from(bytes.be32()?))?;
    native.push("event", "file");
    native.push("file", counted(bytes)?);
    Some(time)
}

/// Length, version, event, modifier, for two kinds the machine's address, and the time in seconds and milliseconds.
fn header<'a>(kind: u8, bytes: &mut Bytes<'a>, native: &mut Map<'a>) -> Option<EventTime> {
    bytes.take(5)?;
    let (event, modifier) = (bytes.be16()?, bytes.be16()?);
    native.push("event_type", i64::from(event));
    if let Some(name) = name_of(event) {
        native.push("event", name);
    }
    native.push("modifier", i64::from(modifier));
    if matches!(kind, 0x15 | 0x79) {
        let len = bytes.be32()?;
        native.push("machine", address(bytes, len)?);
    }
    match kind {
        0x14 | 0x15 => moment(i64::from(bytes.be32()?), i64::from(bytes.be32()?)),
        _ => moment(i64::try_from(bytes.be64()?).ok()?, i64::try_from(bytes.be64()?).ok()?),
    }
}

fn moment(seconds: i64, millis: i64) -> Option<EventTime> {
    let nanos = i32::try_from(millis.clamp(0, 999)).ok()? * 1_000_000;
    Timestamp::new(seconds, nanos).ok().map(EventTime::exact)
}

/// One token after its id: the name of its field, and its value.
fn read_token<'a>(token: u8, bytes: &mut Bytes<'a>) -> Option<(&'static str, Value<'a>)> {
    Some(match token {
        0x21 => ("data", data(bytes)?),
        0x22 => {
            bytes.take(1)?;
            ("ipc", i64::from(bytes.be32()?).into())
        }
        0x23 => ("path", counted(bytes)?),
        0x24 | 0x75 | 0x7A | 0x7C => ("subject", subject(token, bytes)?.into()),
        0x26 | 0x77 | 0x7B | 0x7D => ("process", subject(token - 2 + u8::from(token > 0x79), bytes)?.into()),
        0x27 => ("return", returned(bytes.u8()?, i64::from(bytes.be32()?))),
        0x72 => ("return", returned(bytes.u8()?, bytes.be64()?.cast_signed())),
        0x28 => ("text", counted(bytes)?),
        0x29 => {
            let len = bytes.be16()? as usize;
            ("opaque", hex::encode(bytes.take(len)?).into())
        }
        0x2A | 0x7E => ("address", host(token, bytes)?),
        0x2B => ("ip_header", hex::encode(bytes.take(20)?).into()),
        0x2C => ("port", i64::from(bytes.be16()?).into()),
        0x2D | 0x71 => ("arg", argument(token, bytes)?),
        0x2E => ("socket_type", i64::from(bytes.be16()?).into()),
        0x2F => ("sequence", i64::from(bytes.be32()?).into()),
        0x3C => ("exec_args", strings(bytes)?),
        0x3D => ("exec_env", strings(bytes)?),
        0x3E | 0x73 => ("attribute", attribute(token, bytes)?.into()),
        0x32 => ("ipc_permissions", hex::encode(bytes.take(28)?).into()),
        0x34 | 0x3B => ("groups", groups(bytes)?),
        0x52 => {
            let mut exit = Map::new();
            exit.push("status", i64::from(bytes.be32()?));
            exit.push("value", i64::from(bytes.be32()?.cast_signed()));
            ("exit", exit.into())
        }
        0x60 => ("zone", counted(bytes)?),
        0x7F => ("socket", socket_pair(bytes)?),
        0x80 | 0x81 => ("socket", socket(token, bytes)?),
        0x82 => {
            bytes.take(2)?;
            ("socket", text(bytes.c_string()?))
        }
        0xED => ("identity", identity(bytes)?),
        _ => return None,
    })
}

/// Text whose length stands before it and counts the NUL at its end.
fn counted<'a>(bytes: &mut Bytes<'a>) -> Option<Value<'a>> {
    let len = bytes.be16()? as usize;
    Some(text(until_nul(bytes.take(len)?)))
}

fn text(bytes: &[u8]) -> Value<'_> {
    Value::Str(String::from_utf8_lossy(bytes))
}

/// Who acted: audit, effective and real user, process, session, and the terminal with its address.
fn subject<'a>(token: u8, bytes: &mut Bytes<'a>) -> Option<Map<'a>> {
    let mut subject = Map(Vec::with_capacity(9));
    for name in ["auid", "euid", "egid", "ruid", "rgid", "pid", "session"] {
        subject.push(name, i64::from(bytes.be32()?.cast_signed()));
    }
    let port = if matches!(token, 0x75 | 0x7C) { bytes.be64()? } else { u64::from(bytes.be32()?) };
    subject.push("terminal_port", Value::Uint(port));
    let len = if matches!(token, 0x7A | 0x7C) { bytes.be32()? } else { 4 };
    subject.push("terminal_address", address(bytes, len)?);
    Some(subject)
}

fn address(bytes: &mut Bytes<'_>, len: u32) -> Option<Value<'static>> {
    Some(match len {
        4 => Ipv4Addr::from(bytes.be32()?).to_string().into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.take(16)?).ok()?).to_string().into(),
        _ => return None,
    })
}

fn host(token: u8, bytes: &mut Bytes<'_>) -> Option<Value<'static>> {
    let len = if token == 0x7E { bytes.be32()? } else { 4 };
    address(bytes, len)
}

fn returned(error: u8, value: i64) -> Value<'static> {
    let mut fields = Map::new();
    fields.push("error", i64::from(error));
    fields.push("value", value);
    fields.into()
}

fn argument<'a>(token: u8, bytes: &mut Bytes<'a>) -> Option<Value<'a>> {
    let mut fields = Map::new();
    fields.push("number", i64::from(bytes.u8()?));
    let value = if token == 0x71 { bytes.be64()? } else { u64::from(bytes.be32()?) };
    fields.push("value", Value::Uint(value));
    fields.push("name", counted(bytes)?);
    Some(fields.into())
}

fn strings<'a>(bytes: &mut Bytes<'a>) -> Option<Value<'a>> {
    let count = bytes.be32()?;
    // Each takes a byte at least, so a count that lies ends with the record.
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(text(bytes.c_string()?));
    }
    Some(Value::List(list))
}

fn attribute(token: u8, bytes: &mut Bytes<'_>) -> Option<Map<'static>> {
    let mut fields = Map(Vec::with_capacity(6));
    fields.push("mode", format!("{:o}", bytes.be32()?));
    fields.push("uid", i64::from(bytes.be32()?.cast_signed()));
    fields.push("gid", i64::from(bytes.be32()?.cast_signed()));
    fields.push("filesystem", i64::from(bytes.be32()?));
    fields.push("inode", Value::Uint(bytes.be64()?));
    fields.push("device", Value::Uint(if token == 0x73 { bytes.be64()? } else { u64::from(bytes.be32()?) }));
    Some(fields)
}

fn groups(bytes: &mut Bytes<'_>) -> Option<Value<'static>> {
    let count = bytes.be16()?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(Value::Int(i64::from(bytes.be32()?.cast_signed())));
    }
    Some(Value::List(list))
}

/// Units of one, two, four or eight bytes.
fn data(bytes: &mut Bytes<'_>) -> Option<Value<'static>> {
    bytes.take(1)?;
    let unit = 1usize.checked_shl(u32::from(bytes.u8()?)).filter(|unit| *unit <= 8)?;
    let count = usize::from(bytes.u8()?);
    Some(hex::encode(bytes.take(unit * count)?).into())
}

fn socket(token: u8, bytes: &mut Bytes<'_>) -> Option<Value<'static>> {
    bytes.take(2)?;
    let port = bytes.be16()?;
    let mut fields = Map::new();
    fields.push("address", address(bytes, if token == 0x80 { 4 } else { 16 })?);
    fields.push("port", i64::from(port));
    Some(fields.into())
}

fn socket_pair(bytes: &mut Bytes<'_>) -> Option<Value<'static>> {
    bytes.take(4)?;
    let len = match bytes.be16()? {
        4 => 4,
        16 => 16,
        _ => return None,
    };
    let mut fields = Map(Vec::with_capacity(4));
    fields.push("local_port", i64::from(bytes.be16()?));
    fields.push("local_address", address(bytes, len)?);
    fields.push("port", i64::from(bytes.be16()?));
    fields.push("address", address(bytes, len)?);
    Some(fields.into())
}

/// How the program that acted is signed.
fn identity<'a>(bytes: &mut Bytes<'a>) -> Option<Value<'a>> {
    let mut fields = Map(Vec::with_capacity(6));
    fields.push("signer_type", i64::from(bytes.be32()?));
    fields.push("signing_id", counted(bytes)?);
    fields.push("signing_id_truncated", bytes.u8()? != 0);
    fields.push("team_id", counted(bytes)?);
    fields.push("team_id_truncated", bytes.u8()? != 0);
    let len = bytes.be16()? as usize;
    fields.push("cdhash", hex::encode(bytes.take(len)?));
    Some(fields.into())
}

fn name_of(event: u16) -> Option<&'static str> {
    EVENTS.binary_search_by_key(&event, |(number, _)| *number).ok().map(|at| EVENTS[at].1)
}

/// Events by number, as audit_event(5) of OpenBSM and macOS names them, in order.
const EVENTS: &[(u16, &str)] = &[
    (1, "AUE_EXIT"),
    (2, "AUE_FORK"),
    (4, "AUE_CREAT"),
    (5, "AUE_LINK"),
    (6, "AUE_UNLINK"),
    (7, "AUE_EXEC"),
    (10, "AUE_CHMOD"),
    (11, "AUE_CHOWN"),
    (15, "AUE_KILL"),
    (20, "AUE_REBOOT"),
    (21, "AUE_SYMLINK"),
    (23, "AUE_EXECVE"),
    (25, "AUE_VFORK"),
    (32, "AUE_CONNECT"),
    (33, "AUE_ACCEPT"),
    (34, "AUE_BIND"),
    (38, "AUE_FCHOWN"),
    (39, "AUE_FCHMOD"),
    (40, "AUE_SETREUID"),
    (42, "AUE_RENAME"),
    (47, "AUE_MKDIR"),
    (48, "AUE_RMDIR"),
    (56, "AUE_UNMOUNT"),
    (62, "AUE_MOUNT"),
    (72, "AUE_OPEN_R"),
    (73, "AUE_OPEN_RC"),
    (76, "AUE_OPEN_W"),
    (77, "AUE_OPEN_WC"),
    (79, "AUE_OPEN_WTC"),
    (80, "AUE_OPEN_RW"),
    (81, "AUE_OPEN_RWC"),
    (83, "AUE_OPEN_RWTC"),
    (113, "AUE_SYSTEMBOOT"),
    (183, "AUE_SOCKET"),
    (200, "AUE_SETUID"),
    (205, "AUE_SETGID"),
    (214, "AUE_SETEGID"),
    (215, "AUE_SETEUID"),
    (266, "AUE_SETAUDIT_ADDR"),
    (282, "AUE_RENAMEAT"),
    (286, "AUE_UNLINKAT"),
    (6152, "AUE_login"),
    (6153, "AUE_logout"),
    (6154, "AUE_telnet"),
    (6155, "AUE_rlogin"),
    (6158, "AUE_rshd"),
    (6159, "AUE_su"),
    (6160, "AUE_halt"),
    (6161, "AUE_reboot"),
    (6163, "AUE_passwd"),
    (6165, "AUE_ftpd"),
    (6168, "AUE_shutdown"),
    (6172, "AUE_ssh"),
    (6207, "AUE_create_user"),
    (6208, "AUE_modify_user"),
    (6209, "AUE_delete_user"),
    (6210, "AUE_disable_user"),
    (6211, "AUE_enable_user"),
    (32800, "AUE_openssh"),
    (43002, "AUE_PTRACE"),
    (43048, "AUE_TASKFORPID"),
    (43190, "AUE_POSIX_SPAWN"),
    (44901, "AUE_SESSION_START"),
    (44902, "AUE_SESSION_UPDATE"),
    (44903, "AUE_SESSION_END"),
    (44904, "AUE_SESSION_CLOSE"),
    (45000, "AUE_audit_startup"),
    (45001, "AUE_audit_shutdown"),
    (45014, "AUE_modify_password"),
    (45015, "AUE_create_group"),
    (45016, "AUE_delete_group"),
    (45017, "AUE_modify_group"),
    (45018, "AUE_add_to_group"),
    (45019, "AUE_remove_from_group"),
    (45020, "AUE_revoke_obj"),
    (45021, "AUE_lw_login"),
    (45022, "AUE_lw_logout"),
    (45023, "AUE_auth_user"),
    (45024, "AUE_ssconn"),
    (45025, "AUE_ssauthorize"),
    (45026, "AUE_ssauthint"),
    (45028, "AUE_sudo"),
    (45029, "AUE_audit_recovery"),
    (45030, "AUE_ssauthmech"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tokens: &[u8]) -> Vec<u8> {
        let len = (RECORD_MIN + tokens.len()) as u32;
        let mut raw = vec![0x14];
        raw.extend_from_slice(&len.to_be_bytes());
        raw.extend_from_slice(&[11, 0xAF, 0xD5, 0, 0]);
        raw.extend_from_slice(&1_795_168_800u32.to_be_bytes());
        raw.extend_from_slice(&250u32.to_be_bytes());
        raw.extend_from_slice(tokens);
        raw.extend_from_slice(&[0x13, 0xB1, 0x05]);
        raw.extend_from_slice(&len.to_be_bytes());
        raw
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(EVENTS.is_sorted_by_key(|(number, _)| *number));
    }

    #[test]
    fn tokens_become_fields() {
        let mut tokens = vec![0x24];
        for number in [501u32, 0, 20, 501, 20, 311, 100_005, 7, 0x0A00_0407] {
            tokens.extend_from_slice(&number.to_be_bytes());
        }
        tokens.extend_from_slice(b"\x28\x00\x03ab\0\x28\x00\x02c\0\x3c\x00\x00\x00\x02ls\0-l\0\x27\x0d\xff\xff\xff\xff");
        let raw = record(&tokens);
        assert!(is_file(&raw));
        let (native, time, problems) = read(&raw).expect("a record");
        let want = r#"{"event_type":45013,"modifier":0,"subject":{"auid":501,"euid":0,"egid":20,"ruid":501,"rgid":20,"pid":311,"session":100005,"terminal_port":7,"terminal_address":"10.0.4.7"},"text":["ab","c"],"exec_args":["ls","-l"],"return":{"error":13,"value":4294967295}}"#;
        assert_eq!(serde_json::to_string(&native).expect("fields serialise"), want);
        assert_eq!((time.map(|time| time.at.to_string()), problems), (Some("2026-11-20T10:00:00.25Z".into()), vec![]));
    }

    #[test]
    fn an_unknown_token_is_named() {
        let raw = record(&[0x28, 0, 2, b'a', 0, 0x99, 1, 2]);
        let (native, _, problems) = read(&raw).expect("a record");
        assert_eq!(native.get("text"), Some(&"a".into()));
        assert_eq!((problems[0].code, problems[0].offset), ("bsm.token", 23));
        assert!(read(&raw[..raw.len() - 1]).is_none());
    }
}
