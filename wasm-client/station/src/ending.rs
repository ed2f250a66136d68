//! The wish of a person or of the system that this program ends: SIGTERM and SIGINT, and on Windows Ctrl-C, Ctrl-Break
//! or the closing of the console's window.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::bell::Bell;

/// Raises the flag with the first wish and rings, and ends the process at once, with 1, at the second: whoever asks
/// twice does not want to wait, and it is safe.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn listen(bell: &Bell) -> io::Result<Arc<AtomicBool>> {
    let end = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        // In this order: the second sets what the first looks at.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&end))?;
        signal_hook::flag::register(signal, Arc::clone(&end))?;
    }
    #[cfg(unix)]
    ring_at([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT], bell)?;
    #[cfg(windows)]
    {
        let (end, bell) = (Arc::clone(&end), bell.clone());
        ctrlc::set_handler(move || {
            if end.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::process::exit(1);
            }
            bell.ring();
        })
        .map_err(io::Error::other)?;
    }
    Ok(end)
}

/// Rings at each of these signals, after the flags that they raise: a handler of a signal may do no more than that, so
/// a thread rings.
///
/// # Errors
/// When the system does not tell.
#[cfg(unix)]
pub(crate) fn ring_at<const N: usize>(signals: [std::ffi::c_int; N], bell: &Bell) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    let bell = bell.clone();
    std::thread::spawn(move || signals.forever().for_each(|_| bell.ring()));
    Ok(())
}
