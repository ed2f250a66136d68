//! A small Debian with systemd as its process 1, for one test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_e2e::world::wait_for;

/// How long a machine may take to boot, and a service to become what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that runs. It is gone when this is dropped, with all that was written to it.
pub(super) struct Machine {
    namespaces: Child,
    init: String,
    _at: tempfile::TempDir,
}

impl Machine {
    /// Boots one from a root that stays as it is, with files in `/root`.
    pub(super) fn boot(root: &Path, files: &Path) -> Result<Self> {
        ensure!(
            root.join(".ready").exists(),
            "{} is no bootstrapped Debian; run scripts/setup-package",
            root.display()
        );
        let at = tempfile::tempdir()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages/boot.sh");
        let mut namespaces = as_root("unshare");
        namespaces.args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child", "sh"]);
        namespaces.arg(&script).args([root, files, at.path()]);
        let namespaces = namespaces.stdin(Stdio::null()).spawn().context("unshare does not start")?;
        let mut machine = Self { namespaces, init: String::new(), _at: at };
        machine.init = wait_for("systemd", PATIENCE, || machine.find_init())?;
        machine.wait_until("systemctl is-system-running | grep -E 'running|degraded'")?;
        Ok(machine)
    }

    /// The process that is number 1 in there, once it is systemd.
    fn find_init(&mut self) -> Result<Option<String>> {
        if let Some(status) = self.namespaces.try_wait()? {
            bail!("no machine boots here: {status}; it needs namespaces, overlayfs and cgroups");
        }
        // `sudo` stands between, where there is one.
        let mut at = self.namespaces.id().to_string();
        loop {
            let name = std::fs::read_to_string(format!("/proc/{at}/comm")).unwrap_or_default();
            if name.trim() == "systemd" {
                return Ok(Some(at));
            }
            let children = std::fs::read_to_string(format!("/proc/{at}/task/{at}/children")).unwrap_or_default();
            match children.split_whitespace().next() {
                Some(child) => at = child.to_owned(),
                None => return Ok(None),
            }
        }
    }

    fn output(&self, script: &str) -> Result<(bool, String)> {
        let mut command = as_root("nsenter");
        command.args(["--target", &self.init, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]);
        command.args([
            "timeout",
            "--signal=KILL",
            "90",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ]);
        command.args([
            "DEBIAN_FRONTEND=noninteractive",
            "LC_ALL=C.UTF-8",
            "sh",
            "-euc",
            &format!("exec 2>&1; cd /; {script}"),
        ]);
        let output = command.stdin(Stdio::null()).output().context("nsenter does not start")?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).trim_end().to_owned()))
    }

    /// Runs a script as root, and gives what it printed.
    pub(super) fn run(&self, script: &str) -> Result<String> {
        let (is_well, printed) = self.output(script)?;
        if !is_well {
            let journal = self.output("journalctl --no-pager -n 60 -o cat").map(|(_, text)| text).unwrap_or_default();
            bail!("{script}\nfailed:\n{printed}\n--- journal\n{journal}");
        }
        Ok(printed)
    }

    /// Runs a script that must print this.
    pub(super) fn says(&self, script: &str, expected: &str) -> Result<()> {
        let printed = self.run(script)?;
        ensure!(printed == expected, "{script}\nprinted {printed:?}, not {expected:?}");
        Ok(())
    }

    /// Repeats a script until it succeeds.
    pub(super) fn wait_until(&self, script: &str) -> Result<String> {
        let last = |error: anyhow::Error| {
            error.context(
                self.run("systemctl --failed --no-pager; journalctl --no-pager -n 60 -o cat").unwrap_or_default(),
            )
        };
        wait_for(script, PATIENCE, || {
            let (is_well, printed) = self.output(script)?;
            Ok(is_well.then_some(printed))
        })
        .map_err(last)
    }
}

impl Drop for Machine {
    /// Its process 1 dies, and all others with it.
    fn drop(&mut self) {
        if !self.init.is_empty() {
            let _ = as_root("kill").args(["-KILL", &self.init]).status();
        }
        let _ = self.namespaces.kill();
        let _ = self.namespaces.wait();
    }
}

/// A command of root's: directly, or through sudo.
pub(super) fn as_root(program: &str) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    if is_root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
