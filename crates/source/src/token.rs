use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The tokens that may write to a listener; none means anyone may who can reach it.
#[derive(Clone, Default)]
pub struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    /// From the tokens as configured. Kept as hashes, so that a comparison takes the same time whatever is sent.
    pub fn new<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Self {
        Self(tokens.into_iter().map(|token| digest(token.as_ref().as_bytes())).collect())
    }

    /// Whether an `Authorization` header may write: `Bearer TOKEN`, `Splunk TOKEN`, `ApiKey TOKEN` (plain, or base64 of
    /// `id:TOKEN`) or `Basic` with the token as password, any user name.
    pub fn allow(&self, authorization: Option<&str>) -> bool {
        self.look(authorization) == Access::Allowed
    }

    /// The same, and what is wrong where it may not.
    pub(crate) fn look(&self, authorization: Option<&str>) -> Access {
        if self.0.is_empty() {
            return Access::Allowed;
        }
        let Some(header) = authorization else { return Access::NoToken };
        let Some((scheme, credential)) = header.trim().split_once(' ') else { return Access::NoScheme };
        let credential = credential.trim();
        let unpacked = unpacked(credential);
        let password = password(&unpacked);
        let right = match scheme.to_ascii_lowercase().as_str() {
            "bearer" | "splunk" => self.has(credential.as_bytes()),
            "apikey" => self.has(credential.as_bytes()) | self.has(password),
            "basic" => self.has(password),
            _ => return Access::NoScheme,
        };
        if right { Access::Allowed } else { Access::WrongToken }
    }

    /// Whether a token is needed.
    pub fn is_needed(&self) -> bool {
        !self.0.is_empty()
    }

    fn has(&self, token: &[u8]) -> bool {
        let given = digest(token);
        let mut found = subtle::Choice::from(0);
        for token in &self.0 {
            found |= token.ct_eq(&given);
        }
        found.into()
    }
}

/// What in an `Authorization` header may be a token: the credential, and the password in it.
pub(crate) fn shown(authorization: Option<&str>) -> Vec<Vec<u8>> {
    let Some((_, credential)) = authorization.and_then(|header| header.trim().split_once(' ')) else { return Vec::new() };
    let credential = credential.trim();
    vec![credential.as_bytes().to_vec(), password(&unpacked(credential)).to_vec()]
}

fn unpacked(credential: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(credential).unwrap_or_default()
}

/// What comes after the first colon.
fn password(unpacked: &[u8]) -> &[u8] {
    unpacked.iter().position(|byte| *byte == b':').map_or(&[][..], |at| &unpacked[at + 1..])
}

/// What the tokens say to an `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Allowed,
    /// There is no header.
    NoToken,
    /// The header has no scheme that is known.
    NoScheme,
    /// The token is none of those.
    WrongToken,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_carries_the_token() {
        let tokens = Tokens::new(["secret-one", "two"]);
        let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        for header in ["Bearer secret-one", "bearer two", "Splunk two", "ApiKey two", &basic("elastic:two")] {
            assert!(tokens.allow(Some(header)), "{header}");
        }
        for header in ["Bearer secret", "Bearer ", "two", &basic("two:elastic"), &basic("two")] {
            assert!(!tokens.allow(Some(header)), "{header}");
        }
        assert!(!tokens.allow(None));
        assert!(Tokens::default().allow(None));
    }
}
