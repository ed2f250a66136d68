//! What the service manager starts: `tidemark run` without a console. It ends when the manager says so, within seconds;
//! when it fails, the manager starts it again.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};

use super::args::HostArgs;
use super::fault::manager_fault;
use super::log::Log;
use super::work::Prepare;
use crate::bell::Bell;
use crate::cli::fatal::Fatal;
use crate::cli::show;
use crate::clock::now_ms;

/// How long the end may take, as the manager is told: a request in flight has 3 s, and the file is closed after it.
const END: Duration = Duration::from_secs(15);

/// What the service does. The manager calls back with its own arguments only.
static PLAN: OnceLock<Plan> = OnceLock::new();

struct Plan {
    name: String,
    log: PathBuf,
    log_bytes_max: u64,
    words: Vec<OsString>,
    prepare: Prepare,
}

define_windows_service!(entry, serve);

/// Hands this process to the service manager until the service has ended.
pub(super) fn run(name: &str, args: &HostArgs, prepare: Prepare) -> Result<(), Fatal> {
    let (log, log_bytes_max, words) = (args.log.clone(), args.log_bytes_max, args.words.clone());
    let plan = Plan { name: name.to_owned(), log, log_bytes_max, words, prepare };
    PLAN.get_or_init(|| plan);
    service_dispatcher::start(name, entry)
        .map_err(|error| manager_fault(name, "this is the service manager's command", &error))
}

/// The service, in a thread of the manager's library.
fn serve(_: Vec<OsString>) {
    let Some(plan) = PLAN.get() else { return };
    let end = Arc::new(AtomicBool::new(false));
    let told = Arc::new(OnceLock::<ServiceStatusHandle>::new());
    let bell = Bell::default();
    let (raise, ring, tell) = (Arc::clone(&end), bell.clone(), Arc::clone(&told));
    let handler = move |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop | ServiceControl::Shutdown => {
            if let Some(manager) = tell.get() {
                say(*manager, ServiceState::StopPending, ServiceExitCode::NO_ERROR);
            }
            raise.store(true, Ordering::Relaxed);
            ring.ring();
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    // Without the manager nobody can be told, and the process ends.
    let Ok(manager) = service_control_handler::register(&plan.name, handler) else { return };
    let _ = told.set(manager);
    say(manager, ServiceState::Running, ServiceExitCode::NO_ERROR);
    let code = match Log::open(&plan.log, plan.log_bytes_max) {
        Ok(log) => work(plan, &end, &bell, log),
        // The manager shows the system's own code, and its words for it.
        Err(error) => {
            ServiceExitCode::Win32(error.raw_os_error().and_then(|code| u32::try_from(code).ok()).unwrap_or(1))
        }
    };
    say(manager, ServiceState::Stopped, code);
}

/// Pushes until the end; returns how it ended.
fn work(plan: &Plan, end: &AtomicBool, bell: &Bell, log: Log) -> ServiceExitCode {
    let log = Arc::new(Mutex::new(log));
    let write = |log: &Mutex<Log>, text: &str| {
        if let Ok(mut log) = log.lock() {
            log.line(text);
        }
    };
    let of_panics = Arc::clone(&log);
    std::panic::set_hook(Box::new(move |panic| {
        write(&of_panics, &format!("{} {}", show::time(now_ms()), show::one_line(&panic.to_string())));
    }));
    let to_log = Arc::clone(&log);
    show::divert(Box::new(move |text| write(&to_log, text)));
    match (plan.prepare)(&plan.words).map_err(Fatal::new).and_then(|work| work(end, bell)) {
        Ok(()) => ServiceExitCode::NO_ERROR,
        Err(fatal) => {
            write(&log, &format!("{} {}", show::time(now_ms()), show::one_line(&fatal.message)));
            ServiceExitCode::ServiceSpecific(u32::from(fatal.code))
        }
    }
}

/// Tells the manager where the service stands. It asks again when this is lost.
fn say(manager: ServiceStatusHandle, state: ServiceState, exit_code: ServiceExitCode) {
    let accepted = match state {
        ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
        _ => ServiceControlAccept::empty(),
    };
    let _ = manager.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepted,
        exit_code,
        checkpoint: 0,
        wait_hint: if state == ServiceState::StopPending { END } else { Duration::ZERO },
        process_id: None,
    });
}
