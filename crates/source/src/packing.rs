//! Packed bytes: told by how they begin, unpacked up to a bound.
use std::io::Read as _;

use bytes::Bytes;

/// How bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zlib,
    Zstd,
}

/// Why bytes cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PackingError {
    /// They are not what they begin as, or break off; what the decoder said.
    Damaged(String),
    /// There is more in them than is taken.
    TooLarge,
}

impl PackingError {
    /// The name it is counted under.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Damaged(_) => "packed_damaged",
            Self::TooLarge => "packed_too_large",
        }
    }
}

impl Packing {
    /// What the bytes begin as.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [first, second, ..] if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31) => {
                Some(Self::Zlib)
            }
            _ => None,
        }
    }

    /// Unpacks up to `bytes_max`. Memory grows with what comes out, not with what is claimed.
    pub(crate) fn unpack(self, packed: &[u8], bytes_max: usize) -> Result<Bytes, PackingError> {
        let mut out = Vec::with_capacity(packed.len().saturating_mul(4).min(bytes_max));
        let limit = bytes_max as u64 + 1;
        let read = match self {
            Self::Gzip => flate2::read::MultiGzDecoder::new(packed).take(limit).read_to_end(&mut out),
            Self::Zlib => flate2::read::ZlibDecoder::new(packed).take(limit).read_to_end(&mut out),
            Self::Zstd => zstd::stream::read::Decoder::new(packed).and_then(|decoder| decoder.take(limit).read_to_end(&mut out)),
        };
        read.map_err(|error| PackingError::Damaged(error.to_string()))?;
        if out.len() > bytes_max { Err(PackingError::TooLarge) } else { Ok(out.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_kind_is_told_by_its_bytes_and_bounded() {
        let text = vec![b' '; 100_000];
        for (packed, kind) in
            [(gzip(&text), Packing::Gzip), (zlib(&text), Packing::Zlib), (zstd::encode_all(&text[..], 3).unwrap(), Packing::Zstd)]
        {
            assert_eq!(Packing::of(&packed), Some(kind));
            assert_eq!(kind.unpack(&packed, text.len()).unwrap(), text);
            assert_eq!(kind.unpack(&packed, text.len() - 1), Err(PackingError::TooLarge), "{kind:?}");
            let cut = kind.unpack(&packed[..packed.len() / 2], text.len());
            assert!(matches!(cut, Err(PackingError::Damaged(_))), "{kind:?}: {cut:?}");
        }
        for plain in [&b""[..], b"{\"a\":1}", b"[", b"<13>text", b"\x28\xb5\x2f"] {
            assert_eq!(Packing::of(plain), None, "{plain:?}");
        }
    }
}
