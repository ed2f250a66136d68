//! What a person asks of Windows' service manager.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tidemark_client::Store;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType, ServiceState,
    ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::args::{InstallArgs, LOCAL_SERVICE};
use super::fault::{code, code_of, manager_fault};
use super::given::{give, given, take_back};
use super::rights::needs;
use super::work::{Of, Prepare};
use crate::cli::fatal::Fatal;
use crate::cli::show;
use crate::clock::{now_ms, sleep_ms};

/// Waits before a service that failed is started again: the first, the second, and every later time.
const RESTARTS_S: [u64; 3] = [5, 60, 300];
/// After so long without a failure, the next is the first again.
const RESET_S: u64 = 24 * 3600;
/// How long a start or a stop is waited for.
const WAIT_MS: i64 = 30_000;
/// How long a service that has just started is watched.
const SETTLE_MS: i64 = 2_000;

fn open(name: &str, what: &str, access: ServiceAccess) -> Result<Service, Fatal> {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
        .and_then(|manager| manager.open_service(name, access))
        .map_err(|error| manager_fault(name, what, &error))
}

pub(super) fn install(name: &str, of: &Of, args: &InstallArgs, prepare: Prepare) -> Result<(), Fatal> {
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| Fatal::new(format!("{}: {error}", path.display())));
    // The manager starts it elsewhere.
    let db = absolute(&of.db)?;
    let log = absolute(args.log.as_deref().unwrap_or(&db.with_extension("service.log")))?;
    let mut words: Vec<OsString> = vec!["--db".into(), db.clone().into()];
    // The settings of this folder would not be found from there.
    let beside = PathBuf::from("tidemark.toml");
    let config = of.config.clone().or_else(|| beside.exists().then_some(beside));
    let mut reads = Vec::new();
    let trusted = of.trust.files();
    for (option, file) in config.as_deref().map(|file| ("--config", file)).into_iter().chain(trusted) {
        reads.push(absolute(file)?);
        words.extend([option.into(), absolute(file)?.into()]);
    }
    words.push("run".into());
    words.extend(args.run.iter().cloned());
    // Wrong words are told now, and not to the log of a service that does not start.
    drop(prepare(&words).map_err(Fatal::new)?);
    let is_member = Store::open(&db)?.meta()?.server.is_some();
    let program = std::env::current_exe().map_err(|error| Fatal::new(format!("where is this program? {error}")))?;
    let info = ServiceInfo {
        name: name.into(),
        display_name: format!("Tidemark station ({})", db.file_name().unwrap_or_default().display()).into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: if args.manual_start { ServiceStartType::OnDemand } else { ServiceStartType::AutoStart },
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: launch(name, &log, args.log_bytes_max, words),
        dependencies: Vec::new(),
        account_name: Some(args.account.clone().into()),
        account_password: args.password_file.as_deref().map(password).transpose()?,
    };
    let failed = |error| manager_fault(name, "cannot be made", &error);
    let manager = ServiceManager::local_computer(
        None::<&str>,
        ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE,
    )
    .map_err(failed)?;
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START | ServiceAccess::QUERY_CONFIG;
    let service = manager.create_service(&info, access).map_err(failed)?;
    configure(name, &service, args.manual_start);
    show::line(&format!("service {name} was made: it pushes from {}, as {}", db.display(), args.account));
    show::line(&format!("its log is {}", log.display()));
    if !args.keep_rights && !is_system(&args.account) {
        give(name, &needs(&db, &log, &reads));
    }
    if !is_member {
        show::line("it has not joined a server: `tidemark join` first, then start it");
    }
    show::line("`tidemark service start` starts it");
    Ok(())
}

/// An account that may do everything anyway.
fn is_system(account: &str) -> bool {
    ["localsystem", r".\localsystem", r"nt authority\system"].contains(&account.to_ascii_lowercase().as_str())
}

/// What the service manager starts this program with.
fn launch(name: &str, log: &Path, log_bytes_max: u64, words: Vec<OsString>) -> Vec<OsString> {
    let bytes = log_bytes_max.to_string();
    let host: [OsString; 9] = [
        "service".into(),
        "--name".into(),
        name.into(),
        "host".into(),
        "--log".into(),
        log.into(),
        "--log-bytes-max".into(),
        bytes.into(),
        "--".into(),
    ];
    host.into_iter().chain(words).collect()
}

/// The first line of a file.
fn password(file: &Path) -> Result<OsString, Fatal> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fatal::new(format!("{}: cannot read the account's password: {error}", file.display())))?;
    Ok(text.lines().next().unwrap_or_default().trim_start_matches('\u{feff}').into())
}

/// What a service has besides its command. Where the system refuses one of these, the service is there without it.
fn configure(name: &str, service: &Service, manual_start: bool) {
    let restart =
        |&seconds: &u64| ServiceAction { action_type: ServiceActionType::Restart, delay: Duration::from_secs(seconds) };
    let failures = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(RESET_S)),
        reboot_msg: None,
        command: None,
        actions: Some(RESTARTS_S.iter().map(restart).collect()),
    };
    let description = "Pushes what programs write into the station's SQLite file to its Tidemark server.";
    let done = [
        ("has no description", service.set_description(description)),
        ("does not start again after a failure", service.update_failure_actions(failures)),
        (
            "starts again only after a crash, not after another failure",
            service.set_failure_actions_on_non_crash_failures(true),
        ),
        // Without it, what is given to the service's number is given to nobody.
        (
            "has no rights of its own: its account needs those that follow",
            service.set_config_service_sid_info(ServiceSidType::Unrestricted),
        ),
        // After the services that others wait for: the network is likelier to be there.
        ("starts early", if manual_start { Ok(()) } else { service.set_delayed_auto_start(true) }),
    ];
    for (what, done) in done {
        done.unwrap_or_else(|error| warn(&manager_fault(name, what, &error)));
    }
}

fn warn(fatal: &Fatal) {
    show::error(&format!("tidemark: {}", fatal.message));
}

pub(super) fn start(name: &str) -> Result<(), Fatal> {
    const WHAT: &str = "cannot be started";
    let service = open(name, WHAT, ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
    match service.start::<&str>(&[]) {
        Err(error) if code_of(&error) == Some(code::IS_RUNNING) => {
            show::line(&format!("service {name} runs already"));
            return Ok(());
        }
        done => done.map_err(|error| manager_fault(name, WHAT, &error))?,
    }
    // One that cannot go on ends within moments.
    let (begun_ms, mut state) = (now_ms(), ServiceState::StartPending);
    while state == ServiceState::StartPending || now_ms() < begun_ms.saturating_add(SETTLE_MS) {
        let status = service.query_status().map_err(|error| manager_fault(name, WHAT, &error))?;
        state = status.current_state;
        if state == ServiceState::Stopped {
            return Err(Fatal::new(format!("service {name} ended at once ({})", ended(status.exit_code))));
        }
        if now_ms() > begun_ms.saturating_add(WAIT_MS) {
            return Err(Fatal::new(format!("service {name} does not run yet after {} s", WAIT_MS / 1000)));
        }
        sleep_ms(50, || false);
    }
    show::line(&format!("service {name} runs"));
    Ok(())
}

pub(super) fn stop(name: &str) -> Result<(), Fatal> {
    const WHAT: &str = "cannot be stopped";
    let service = open(name, WHAT, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
    stop_it(name, WHAT, &service)?;
    show::line(&format!("service {name} has ended"));
    Ok(())
}

fn stop_it(name: &str, what: &str, service: &Service) -> Result<(), Fatal> {
    match service.stop() {
        Err(error) if code_of(&error) == Some(code::IS_STOPPED) => return Ok(()),
        done => done.map_err(|error| manager_fault(name, what, &error))?,
    };
    // Right after the control, the manager may still say that it runs.
    let until_ms = now_ms().saturating_add(WAIT_MS);
    while now_ms() < until_ms {
        let status = service.query_status().map_err(|error| manager_fault(name, what, &error))?;
        if status.current_state == ServiceState::Stopped {
            return Ok(());
        }
        sleep_ms(50, || false);
    }
    Err(Fatal::new(format!("service {name} has not ended within {} s", WAIT_MS / 1000)))
}

pub(super) fn remove(name: &str) -> Result<(), Fatal> {
    const WHAT: &str = "cannot be removed";
    let access = ServiceAccess::STOP | ServiceAccess::QUERY_STATUS | ServiceAccess::DELETE;
    let service = open(name, WHAT, access)?;
    stop_it(name, WHAT, &service)?;
    let given = given(name);
    service.delete().map_err(|error| manager_fault(name, WHAT, &error))?;
    take_back(name, &given);
    show::line(&format!("service {name} was removed; the station's file and the log stay"));
    Ok(())
}

pub(super) fn status(name: &str, as_json: bool) -> Result<(), Fatal> {
    const WHAT: &str = "cannot be looked at";
    let service = open(name, WHAT, ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG)?;
    let fault = |error| manager_fault(name, WHAT, &error);
    let (status, config) = (service.query_status().map_err(fault)?, service.query_config().map_err(fault)?);
    let state = word(status.current_state);
    let start = if config.start_type == ServiceStartType::AutoStart { "with the machine" } else { "when asked" };
    let account = config.account_name.unwrap_or_else(|| LOCAL_SERVICE.into());
    let command: PathBuf = config.executable_path;
    if as_json {
        show::json(&json!({
            "name": name,
            "state": state,
            "process": status.process_id,
            "exit_code": number(status.exit_code),
            "starts": start,
            "account": account.display().to_string(),
            "command": command.display().to_string(),
        }));
        return Ok(());
    }
    let process = status.process_id.filter(|id| *id != 0).map(|id| format!(", process {id}")).unwrap_or_default();
    let last = match status.current_state {
        ServiceState::Stopped if number(status.exit_code) != 0 => format!(" ({})", ended(status.exit_code)),
        _ => String::new(),
    };
    show::line(&format!("service {name} {state}{process}{last}"));
    show::line(&format!("starts    {start}, as {}", account.display()));
    show::line(&format!("command   {}", command.display()));
    Ok(())
}

const fn word(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Stopped => "does not run",
        ServiceState::StartPending => "is starting",
        ServiceState::StopPending => "is stopping",
        ServiceState::Running => "runs",
        ServiceState::ContinuePending | ServiceState::PausePending | ServiceState::Paused => "is paused",
    }
}

const fn number(exit: ServiceExitCode) -> u32 {
    match exit {
        ServiceExitCode::Win32(code) | ServiceExitCode::ServiceSpecific(code) => code,
    }
}

fn ended(exit: ServiceExitCode) -> String {
    match exit {
        ServiceExitCode::Win32(code::NEVER_STARTED) => "it was not started since the machine was".to_owned(),
        ServiceExitCode::Win32(code) => match i32::try_from(code) {
            Ok(code) => std::io::Error::from_raw_os_error(code).to_string(),
            Err(_) => format!("code {code}"),
        },
        ServiceExitCode::ServiceSpecific(code) => format!("it failed with {code}, and its log says why"),
    }
}
