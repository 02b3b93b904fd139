//! The stable key in a PKCS#11 token: it never is in this process or on this disk.
//!
//! Source of the standard: OASIS PKCS #11 v3.0, section 2.3.14 (EdDSA).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use parking_lot::Mutex;
use reeve_ledger::ExternalKey;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, USAGE};

/// Where the key is: `[ledger.pkcs11]` in the configuration, kept in the data folder so that other commands find it too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The token's driver, a shared library.
    pub(crate) module: PathBuf,
    /// Label of the token.
    pub(crate) token: String,
    /// Label of the key pair, Ed25519.
    pub(crate) key: String,
    /// File with the user's PIN; its owner alone should be able to read it.
    pub(crate) pin_file: PathBuf,
}

/// A key pair in a token, with a session that is signed in.
struct TokenKey {
    session: Mutex<Session>,
    private: ObjectHandle,
    public: [u8; 32],
}

impl ExternalKey for TokenKey {
    fn public(&self) -> [u8; 32] {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let signature = self
            .session
            .lock()
            .sign(&mechanism, self.private, message)
            .map_err(|error| format!("the token does not sign: {error}"))?;
        signature.try_into().map_err(|other: Vec<u8>| format!("the token's signature has {} bytes, not 64", other.len()))
    }
}

/// The key at this place, ready to sign.
///
/// # Errors
/// Says which of module, token, PIN and key is not as it should be.
pub(crate) fn open(place: &Place) -> Result<Arc<dyn ExternalKey>, Failure> {
    let wrong = |what: String| Failure::new(USAGE, format!("PKCS#11: {what}"));
    let pin = std::fs::read_to_string(&place.pin_file)
        .map_err(|error| wrong(format!("cannot read the PIN in `{}`: {error}", place.pin_file.display())))?;
    let module = Pkcs11::new(&place.module)
        .map_err(|error| wrong(format!("cannot load the module `{}`: {error}", place.module.display())))?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .or_else(|error| {
            if matches!(error, cryptoki::error::Error::Pkcs11(cryptoki::error::RvError::CryptokiAlreadyInitialized, _)) {
                Ok(())
            } else {
                Err(error)
            }
        })
        .map_err(|error| wrong(format!("the module does not start: {error}")))?;
    let slot = slot(&module, &place.token)?;
    let session = module.open_ro_session(slot).map_err(|error| wrong(format!("no session with `{}`: {error}", place.token)))?;
    let pin = AuthPin::from(pin.trim_end_matches(['\r', '\n']).to_owned());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(cryptoki::error::Error::Pkcs11(cryptoki::error::RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => return Err(wrong(format!("the token `{}` does not take the PIN: {error}", place.token))),
    }
    let find = |class| {
        let template =
            [Attribute::Class(class), Attribute::KeyType(KeyType::EC_EDWARDS), Attribute::Label(place.key.clone().into_bytes())];
        let found = session.find_objects(&template).map_err(|error| wrong(format!("cannot look for the key: {error}")))?;
        match found[..] {
            [one] => Ok(one),
            [] => Err(wrong(format!(
                "the token `{}` has no Ed25519 key pair labelled `{}`: make one there",
                place.token, place.key
            ))),
            _ => Err(wrong(format!(
                "the token `{}` has {} keys labelled `{}`: name one that is alone",
                place.token,
                found.len(),
                place.key
            ))),
        }
    };
    let (private, public) = (find(ObjectClass::PRIVATE_KEY)?, find(ObjectClass::PUBLIC_KEY)?);
    let attributes = session
        .get_attributes(public, &[AttributeType::EcPoint])
        .map_err(|error| wrong(format!("cannot read the public key: {error}")))?;
    let point =
        attributes.iter().find_map(|attribute| if let Attribute::EcPoint(point) = attribute { point_of(point) } else { None });
    let public = point.ok_or_else(|| wrong("the public key is no Ed25519 point".to_owned()))?;
    Ok(Arc::new(TokenKey { session: Mutex::new(session), private, public }))
}

fn slot(module: &Pkcs11, token: &str) -> Result<Slot, Failure> {
    let wrong = |what: String| Failure::new(USAGE, format!("PKCS#11: {what}"));
    let slots = module.get_slots_with_token().map_err(|error| wrong(format!("cannot list tokens: {error}")))?;
    let label = |slot: &Slot| module.get_token_info(*slot).map(|info| info.label().trim_end().to_owned()).unwrap_or_default();
    let found = slots.iter().copied().find(|slot| label(slot) == token);
    found.ok_or_else(|| {
        let there: Vec<String> = slots.iter().map(label).filter(|label| !label.is_empty()).collect();
        wrong(format!(
            "no token labelled `{token}`; there are: {}",
            if there.is_empty() { "none".to_owned() } else { there.join(", ") }
        ))
    })
}

/// The 32 bytes of a point: alone, or as the DER octet string that the standard asks for.
fn point_of(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.strip_prefix(&[0x04, 32]).unwrap_or(bytes).try_into().ok()
}

/// The place an earlier start noted in the data folder.
pub(crate) fn noted(data: &Path) -> Result<Option<Place>, Failure> {
    let path = data.join(NOTE);
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(USAGE, format!("cannot read `{}`: {error}", path.display()))),
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|error| Failure::new(USAGE, format!("`{}`: {error}", path.display())))
        }
    }
}

/// Notes the place, so that commands without configuration find the key.
pub(crate) fn note(data: &Path, place: &Place) -> Result<(), Failure> {
    let path = data.join(NOTE);
    let place = Place {
        module: std::path::absolute(&place.module).unwrap_or_else(|_| place.module.clone()),
        pin_file: std::path::absolute(&place.pin_file).unwrap_or_else(|_| place.pin_file.clone()),
        ..place.clone()
    };
    let text = serde_json::to_vec_pretty(&place).map_err(|error| Failure::new(USAGE, error))?;
    std::fs::write(&path, text).map_err(|error| Failure::new(USAGE, format!("cannot write `{}`: {error}", path.display())))
}

const NOTE: &str = "pkcs11.json";

#[cfg(test)]
mod tests {
    use super::point_of;

    #[test]
    fn a_point_may_be_wrapped() {
        let bare = [7; 32];
        let wrapped = [&[4, 32], &bare[..]].concat();
        assert_eq!(point_of(&bare), Some(bare));
        assert_eq!(point_of(&wrapped), Some(bare));
        assert_eq!(point_of(&wrapped[1..]), None);
        assert_eq!(point_of(&[]), None);
    }
}
