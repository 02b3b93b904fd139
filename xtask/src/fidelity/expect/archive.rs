//! What lies in archives, in memory.

use std::{
    fs,
    io::{Cursor, Read},
    path::Path,
    process::Command,
};

use super::Cannot;

/// Bytes of a gzip file; other bytes as they are.
pub fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.to_vec());
    }
    let mut out = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out);
    read.map_err(|error| format!("gzip: {error}"))?;
    Ok(out)
}

/// Files of a ZIP archive with their names in it.
pub fn unzip(path: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = fs::read(path).map_err(|error| failed(&error))?;
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| failed(&error))?;
    let mut files = Vec::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).map_err(|error| failed(&error))?;
        if file.is_file() {
            let name = file.name().map_err(|error| failed(&error))?.into_owned();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| failed(&error))?;
            files.push((name, bytes));
        }
    }
    Ok(files)
}

/// Files of a tar archive in Zstandard with their names in it, by the `tar` and `zstd` of this machine.
pub fn tar_zst(path: &Path) -> Result<Vec<(String, Vec<u8>)>, Cannot> {
    let folder = crate::run::target_dir().join("fidelity-archive");
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let unpacked = Command::new("tar").arg("--zstd").arg("-xf").arg(path).arg("-C").arg(&folder).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        return Err(Cannot::Skip("`tar --zstd` is not here, or could not unpack the archive".into()));
    }
    let mut files = Vec::new();
    walk(&folder, &folder, &mut files)?;
    _ = fs::remove_dir_all(&folder);
    Ok(files)
}

fn walk(top: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            walk(top, &path, files)?;
        } else {
            let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
            files.push((name, super::read(&path)?));
        }
    }
    files.sort();
    Ok(())
}
