//! How this process reaches others over the network: whose certificates it trusts.
use std::{path::Path, sync::Arc};

use reeve_ledger::{Net, RealNet};

use crate::exit::{Failure, USAGE};

/// The network for a data folder: it trusts the authorities of the file configured, else of the one noted in the folder, else the public ones.
///
/// # Errors
/// The file cannot be read or holds no certificates; or it cannot be noted.
pub(crate) fn of_folder(data: &Path, configured: Option<&Path>) -> Result<Arc<dyn Net>, Failure> {
    let note = data.join(NOTE);
    let Some(file) = configured else {
        return if note.exists() { trusting(&note) } else { Ok(Arc::new(RealNet::default())) };
    };
    let net = trusting(file)?;
    let failed = |error: std::io::Error| Failure::new(USAGE, format!("cannot write `{}`: {error}", note.display()));
    let pem = std::fs::read(file).map_err(|error| unreadable(file, &error))?;
    if std::fs::read(&note).ok().as_ref() != Some(&pem) {
        std::fs::write(&note, pem).map_err(failed)?;
    }
    Ok(net)
}

/// The network that trusts the authorities of a file, and no others.
///
/// # Errors
/// It cannot be read or holds no certificates.
pub(crate) fn trusting(file: &Path) -> Result<Arc<dyn Net>, Failure> {
    let pem = std::fs::read(file).map_err(|error| unreadable(file, &error))?;
    let net = RealNet::trusting(&pem).map_err(|reason| unreadable(file, &format!("the file {reason}")))?;
    Ok(Arc::new(net))
}

fn unreadable(file: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(USAGE, format!("cannot use the certificate authorities in `{}`: {error}", file.display()))
}

/// A copy of the file configured last, so that commands without configuration trust the same.
const NOTE: &str = "authorities.pem";
