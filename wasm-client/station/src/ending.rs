//! The wish of a person or of the system that this program ends: SIGTERM and SIGINT, and on Windows Ctrl-C, Ctrl-Break
//! or the closing of the console's window.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Raises the flag with the first wish, and ends the process at once, with 1, at the second: whoever asks twice does
/// not want to wait, and it is safe.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn listen() -> io::Result<Arc<AtomicBool>> {
    let end = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        // In this order: the second sets what the first looks at.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&end))?;
        signal_hook::flag::register(signal, Arc::clone(&end))?;
    }
    #[cfg(windows)]
    {
        let end = Arc::clone(&end);
        ctrlc::set_handler(move || {
            if end.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::process::exit(1);
            }
        })
        .map_err(io::Error::other)?;
    }
    Ok(end)
}
