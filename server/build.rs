//! Puts pages into the program, so that one file is deployed: the fleet page, and the field notebook if
//! `scripts/build-web` has made it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

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
    fs::write(out.join("notebook.rs"), list)?;
    fleet_page(&here.join("admin-page"), &out)
}

/// The fleet page, each file with a compressed copy beside it as the notebook's files have one.
fn fleet_page(from: &Path, out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", from.display());
    let packed = out.join("admin-page");
    fs::create_dir_all(&packed)?;
    let mut list = String::from("&[\n");
    add(&from.canonicalize()?, "", &mut list)?;
    for path in paths_below(from)? {
        let name = path.strip_prefix(from).map_err(io::Error::other)?.to_str().ok_or(io::ErrorKind::InvalidData)?;
        let name = name.replace('\\', "/");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(&path)?)?;
        let copy = packed.join(format!("{}.gz", name.replace('/', "+")));
        fs::write(&copy, encoder.finish()?)?;
        writeln!(list, "    ({:?}, include_bytes!({copy:?}).as_slice()),", format!("{name}.gz"))
            .map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(out.join("admin-page.rs"), list)
}

/// Every file in a folder and those in it, without dotfiles.
fn paths_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            found.extend(paths_below(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
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
