//! The Python of the tests, with SQLAlchemy 2.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// The interpreter: `TIDEMARK_TEST_PYTHON`, else the one that scripts/setup-python makes.
///
/// # Errors
/// When neither is there.
pub fn python() -> Result<PathBuf> {
    if let Some(python) = std::env::var_os("TIDEMARK_TEST_PYTHON") {
        return Ok(python.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let python = cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("tidemark/venv/bin/python");
    if python.is_file() {
        return Ok(python);
    }
    bail!("no Python with SQLAlchemy 2 at {}; run scripts/setup-python, or set TIDEMARK_TEST_PYTHON", python.display())
}
