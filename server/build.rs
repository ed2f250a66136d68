//! Puts the field notebook into the program, if `scripts/build-web` has made it: one file is deployed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("BUG: Cargo names the package's folder"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("BUG: Cargo names a folder for what is made"));
    let site = here.join("../wasm-client/web/site");
    // The folder above the notebook, which is always there: Cargo would run this at every build for one that is not.
    println!("cargo::rerun-if-changed={}", site.display());
    println!("cargo::rerun-if-changed=build.rs");
    let notebook = site.join("notebook");
    let mut list = String::from("&[\n");
    if notebook.join("index.html").is_file() {
        add(&notebook.canonicalize()?, "", &mut list)?;
    }
    list.push(']');
    fs::write(out.join("notebook.rs"), list)
}

/// Adds the files of a folder and of those in it, by name, without dotfiles.
fn add(folder: &Path, prefix: &str, list: &mut String) -> io::Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidData)?;
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            add(&path, &format!("{prefix}{name}/"), list)?;
        } else {
            let at = path.to_str().ok_or(io::ErrorKind::InvalidData)?;
            writeln!(list, "    ({:?}, include_bytes!({at:?}).as_slice()),", format!("{prefix}{name}"))
                .map_err(io::Error::other)?;
        }
    }
    Ok(())
}
