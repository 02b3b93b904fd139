//! Embeds the rules in `content/rules`, so that a scan needs no configuration.

use std::{
    env, fs,
    io::Error,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Error> {
    // Asked when it runs: the compiled script may come from another clone that shares the target folder.
    let here = env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| Error::other("no CARGO_MANIFEST_DIR"))?;
    let root = Path::new(&here).join("../../content/rules");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    walk(&root, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file).display().to_string();
        let path = file.canonicalize()?;
        code += &format!("    ({:?}, include_str!({:?})),\n", format!("reeve/{name}"), path);
    }
    code += "]\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| Error::other("no OUT_DIR"))?);
    fs::write(out.join("rules.rs"), code)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "yml") {
            files.push(path);
        }
    }
    Ok(())
}
