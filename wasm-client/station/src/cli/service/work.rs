//! What a service does, and which station it is of.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::bell::Bell;
use crate::cli::fatal::Fatal;
use crate::cli::trust::TrustArgs;

/// What the service does until the flag is raised and the bell rung. What happens is told as lines of stderr are.
pub(in crate::cli) type Work = Box<dyn FnOnce(&AtomicBool, &Bell) -> Result<(), Fatal>>;
/// Makes the work of the words that it was installed with; or says what is wrong with them.
pub(in crate::cli) type Prepare = fn(&[OsString]) -> Result<Work, String>;

/// The station that a service is of, as its commands name it.
#[cfg_attr(not(windows), expect(dead_code, reason = "these services are Windows'"))]
pub(in crate::cli) struct Of {
    pub db: PathBuf,
    /// The file of settings, if one is named.
    pub config: Option<PathBuf>,
    pub trust: TrustArgs,
}
