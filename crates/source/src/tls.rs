use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::Error;

/// Where a listener's certificate is, and whose clients it takes.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Certificate chain in PEM, the listener's own first.
    pub certificate: PathBuf,
    /// Its private key in PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// Certificates in PEM whose holders may vouch for clients; with it a client needs a certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether clients without certificate are taken all the same. One that is shown has to be right.
    pub client_optional: bool,
}

/// TLS 1.2 and 1.3 as a server.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads certificate, key and authorities; they are used until the listener stops.
    ///
    /// # Errors
    /// [`Error::Tls`] names the file that cannot be used and why.
    pub fn load(files: &TlsFiles) -> Result<Self, Error> {
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&files.certificate, &error))?;
        let builder = match &files.client_ca {
            Some(path) => builder.with_client_cert_verifier(verifier(path, files.client_optional)?),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| unusable(&files.key, &error))?;
        Ok(Self(Arc::new(config)))
    }

    /// The same, for clients that negotiate what is spoken inside; what is liked best comes first.
    pub(crate) fn speaking(&self, protocols: &[&[u8]]) -> Self {
        let mut config = ServerConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self(Arc::new(config))
    }

    /// The handshake, with the name the client's certificate gives it; the reason as it is counted if there is none.
    pub(crate) async fn shake(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Option<Arc<str>>), &'static str> {
        let shaking = TlsAcceptor::from(self.0.clone()).accept(stream);
        let stream = match tokio::time::timeout(HANDSHAKE_MAX, shaking).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(reason(&error)),
            Err(_) => return Err("tls_handshake_slow"),
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(name_in);
        match shown {
            Some(None) => Err("certificate_without_name"),
            Some(name) => Ok((stream, name)),
            None => Ok((stream, None)),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, &error))?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(path, &error))?;
    if found.is_empty() { Err(unusable(path, &"it holds no certificate in PEM")) } else { Ok(found) }
}

fn verifier(path: &Path, optional: bool) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path)? {
        authorities.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::new(ring::default_provider()));
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::Tls { path: path.to_owned(), detail: cause.to_string() }
}

/// What a failed handshake is counted as.
fn reason(error: &std::io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::NoCertificatesPresented) => "certificate_missing",
        Some(rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "certificate_expired"
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. })) => {
            "certificate_not_valid_yet"
        }
        Some(rustls::Error::InvalidCertificate(_)) => "certificate_refused",
        _ => "tls_failed",
    }
}

/// The common name in a certificate's subject, or else its first DNS name.
fn name_in(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let name = common_name(parsed.subject()).or_else(|| parsed.valid_dns_names().next().map(str::to_owned))?;
    let fine = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    fine.then(|| name.into())
}

/// The last common name (2.5.4.3) in a distinguished name, X.501: a sequence of sets of (type, value).
fn common_name(name: &[u8]) -> Option<String> {
    let sets = match value(name) {
        Some((SEQUENCE, inside, [])) => inside,
        _ => name,
    };
    let mut found = None;
    for (_, set) in Values(sets).filter(|(tag, _)| *tag == SET) {
        for (_, pair) in Values(set).filter(|(tag, _)| *tag == SEQUENCE) {
            let mut pair = Values(pair);
            if let (Some((OID, COMMON_NAME)), Some((tag, text))) = (pair.next(), pair.next()) {
                found = text_of(tag, text).or(found);
            }
        }
    }
    found
}

fn text_of(tag: u8, bytes: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING => std::str::from_utf8(bytes).ok().map(str::to_owned),
        // Latin-1 as it is used, T.61 by its name.
        TELETEX_STRING => Some(bytes.iter().copied().map(char::from).collect()),
        BMP_STRING => {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// The DER values that follow one another.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, inside, rest) = value(self.0)?;
        self.0 = rest;
        Some((tag, inside))
    }
}

/// Tag, content and what follows a DER value; lengths up to 65,535.
fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (length, rest) = match bytes.get(1..)? {
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    let (inside, rest) = rest.split_at_checked(length)?;
    Some((*bytes.first()?, inside, rest))
}

/// A client that does not come to an end with its handshake must not hold a place for long.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Leaves room for the listener's prefix in a source's name.
const NAME_BYTES_MAX: usize = 200;

const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `O = Example, CN = web1`, the first as PrintableString, the second as UTF8String.
    const NAME: &[u8] = b"\x31\x10\x30\x0e\x06\x03\x55\x04\x0a\x13\x07Example\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x0c\x04web1";

    #[test]
    fn the_common_name_is_found_with_and_without_its_sequence() {
        assert_eq!(common_name(NAME).as_deref(), Some("web1"));
        let whole = [&[SEQUENCE, NAME.len() as u8][..], NAME].concat();
        assert_eq!(common_name(&whole).as_deref(), Some("web1"));
        assert_eq!(common_name(&NAME[..18]), None);
        assert_eq!(text_of(BMP_STRING, b"\0w\0\xfc").as_deref(), Some("wü"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_name_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0_usize..31, byte: u8) {
            let _ = common_name(&bytes);
            bytes = NAME.to_vec();
            bytes[at.min(NAME.len() - 1)] = byte;
            let _ = common_name(&bytes);
        }
    }
}
