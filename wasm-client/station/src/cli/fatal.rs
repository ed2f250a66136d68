//! The error that ends the program, with its exit code.

use super::words;
use crate::error::StationError;

/// `EX_TEMPFAIL` of sysexits.h: try again later.
pub const EXIT_UNREACHABLE: u8 = 75;

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Fatal {
    pub(super) code: u8,
    pub(super) message: String,
}

impl<E: Into<StationError>> From<E> for Fatal {
    fn from(error: E) -> Self {
        let error = error.into();
        let code = if matches!(error, StationError::Unreachable(_)) { EXIT_UNREACHABLE } else { 1 };
        Self { code, message: words::error(&error) }
    }
}

impl Fatal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}
