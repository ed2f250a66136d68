//! What the service manager refuses, in words, with what can be done about it.

use crate::cli::fatal::Fatal;

/// The system's errors that a person can do something about.
pub(super) mod code {
    pub(in super::super) const ACCESS_DENIED: i32 = 5;
    pub(in super::super) const IS_RUNNING: i32 = 1056;
    pub(in super::super) const NO_SUCH_SERVICE: i32 = 1060;
    pub(in super::super) const IS_STOPPED: i32 = 1062;
    pub(in super::super) const NOT_BY_THE_MANAGER: i32 = 1063;
    pub(in super::super) const BAD_ACCOUNT: i32 = 1057;
    pub(in super::super) const LOGON_FAILED: i32 = 1069;
    pub(in super::super) const IS_BEING_REMOVED: i32 = 1072;
    pub(in super::super) const EXISTS: i32 = 1073;
    pub(in super::super) const NEVER_STARTED: u32 = 1077;
}

/// The system's code of an error, if it has one.
pub(super) fn code_of(error: &windows_service::Error) -> Option<i32> {
    match error {
        windows_service::Error::Winapi(error) => error.raw_os_error(),
        _ => None,
    }
}

/// An error of the service manager, with what can be done about it.
pub(super) fn manager_fault(name: &str, what: &str, error: &windows_service::Error) -> Fatal {
    let reason = match error {
        windows_service::Error::Winapi(error) => error.to_string(),
        other => other.to_string(),
    };
    let remedy = match code_of(error) {
        Some(code::ACCESS_DENIED) => "open the terminal as an administrator".to_owned(),
        Some(code::NO_SUCH_SERVICE) => format!("there is no service {name}: `tidemark service install` makes it"),
        Some(code::EXISTS) => {
            format!("there is a service {name} already: `tidemark service remove` first, or give --name another name")
        }
        Some(code::IS_BEING_REMOVED) => {
            "it is being removed: close the windows that show services, and try again".to_owned()
        }
        Some(code::BAD_ACCOUNT) => {
            "there is no such account: give --account DOMAIN\\NAME, or .\\NAME for one of this machine".to_owned()
        }
        Some(code::LOGON_FAILED) => {
            "the account cannot log on as a service: check its password, and its right to do so".to_owned()
        }
        Some(code::NOT_BY_THE_MANAGER) => "`tidemark service start` is for people".to_owned(),
        _ => return Fatal::new(format!("service {name}: {what}: {reason}")),
    };
    Fatal::new(format!("service {name}: {what}: {reason}; {remedy}"))
}
