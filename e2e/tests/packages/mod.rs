//! The Debian packages on a clean Debian, under a real systemd: installed, started, upgraded, removed, purged.

mod machine;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::process::program;

use machine::Machine;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a package has a workspace")
}

/// Runs a command here; what it printed.
fn here(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}\n{printed}{}", String::from_utf8_lossy(&output.stderr));
    Ok(printed)
}

/// The root that scripts/setup-package made.
fn root() -> Result<PathBuf> {
    let script = ". scripts/lib.sh; printf %s \"$debian_root\"";
    Ok(here(Command::new("bash").args(["-c", script]).current_dir(project()))?.into())
}

/// Both packages of the build under test, and in `next` the server's next version, whose settings file is another.
fn packages(folder: &Path) -> Result<()> {
    program("tidemark-server")?;
    let mut script = Command::new("bash");
    script.current_dir(project()).args(["scripts/package", "--profile", "dev", "--out"]).arg(folder);
    println!("{}", here(&mut script)?);
    // Debian's own judge of packages. What it says in vain has its reason in deploy/debian/lintian.
    let judge = "lintian --allow-root --fail-on error,warning tidemark-server_*.deb tidemark_*.deb";
    here(Command::new("sh").args(["-euc", judge]).current_dir(folder))?;
    let next = "cd \"$0\"; mkdir next; dpkg-deb -R tidemark-server_*-1_*.deb next/tree
        sed -i 's/^Version: .*/Version: 0.1.0-2/' next/tree/DEBIAN/control
        echo '# of version 2' >>next/tree/etc/tidemark/tidemark-server.toml
        dpkg-deb --root-owner-group -Zgzip -z1 -b next/tree next/tidemark-server.deb; rm -r next/tree";
    here(Command::new("bash").args(["-euc", next]).arg(folder)).map(|_| ())
}

const SERVER: &str = "systemctl show tidemark-server --value -p";

#[test]
fn the_packages_are_installed_run_upgraded_and_removed_on_a_clean_debian_with_systemd() -> Result<()> {
    let folder = tempfile::tempdir()?;
    packages(folder.path())?;
    let machine = Machine::boot(&root()?, folder.path())?;

    installed(&machine)?;
    server_runs(&machine)?;
    stations_run(&machine)?;
    watched(&machine)?;
    upgraded(&machine)?;
    removed(&machine)
}

fn installed(machine: &Machine) -> Result<()> {
    machine.run("dpkg -i /root/*.deb")?;
    machine.says("dpkg -l tidemark tidemark-server | grep -c ^ii", "2")?;
    // Both may hold passwords.
    let both = "/etc/tidemark/database-url /etc/tidemark/tidemark-server.toml";
    machine.says(&format!("stat -c '%a %U %G' {both}"), "640 root tidemark-server\n640 root tidemark-server")?;
    // Who may not read them is told so, and still gets help.
    machine.run("runuser -u nobody -- tidemark-server --version")?;
    machine.run(
        "runuser -u nobody -- tidemark-server info 2>&1 | grep 'tidemark-server.toml: cannot be read: Permission'",
    )?;
    machine.says("stat -c '%a %U' /var/lib/tidemark-server /var/lib/tidemark", "750 tidemark-server\n2770 tidemark")?;
    // At the next start of the machine; nothing is started by force.
    machine.says("systemctl is-enabled tidemark-server tidemark", "enabled\nenabled")?;
    machine.says("systemctl is-active tidemark-server tidemark || true", "inactive\ninactive")?;
    for unit in ["tidemark-server", "tidemark", "tidemark@srv-plant"] {
        machine.says(&format!("systemd-analyze verify --man=no {unit}.service"), "")?;
        machine.run(&format!("systemd-analyze security --no-pager --threshold=20 {unit}.service"))?;
    }
    for page in ["tidemark-server", "tidemark-server-serve", "tidemark", "tidemark-run"] {
        machine.run(&format!("zcat /usr/share/man/man1/{page}.1.gz | grep -q '^.TH {page}'"))?;
    }
    machine.run("bash -c '. /usr/share/bash-completion/completions/tidemark; complete -p tidemark'")?;
    machine.run("zcat /usr/share/doc/tidemark-server/changelog.Debian.gz | grep -q '^tidemark (0.1.0-1)'")?;
    machine.run("grep -q Apache-2.0 /usr/share/doc/tidemark/copyright").map(|_| ())
}

fn server_runs(machine: &Machine) -> Result<()> {
    // With Type=notify this ends when the server says that it is ready.
    machine.run("systemctl start tidemark-server")?;
    machine.says("curl -sf http://127.0.0.1:8787/readyz", "ready")?;
    machine.says(&format!("{SERVER} StatusText"), "listening on http://127.0.0.1:8787")?;
    machine.says(&format!("stat -c %U /proc/$({SERVER} MainPID)"), "tidemark-server")?;
    machine.says("stat -c %U /var/lib/tidemark-server/tidemark-upstream.db", "tidemark-server")?;
    machine.says(&format!("{SERVER} LimitNOFILE; {SERVER} MemoryMax"), "16384\n1073741824")?;
    // The sandbox holds: no other folder, no other user's home, no new rights.
    let pid = machine.run(&format!("{SERVER} MainPID"))?;
    machine.says(
        &format!("grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/{pid}/status | tr -d '\\t'"),
        "CapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2",
    )?;
    machine.run(&format!("nsenter -t {pid} -m sh -c '! touch /etc/x 2>/dev/null && ! touch /usr/x 2>/dev/null'"))?;
    // A reload ends when the server says so, and the process is the same.
    machine.run("systemctl reload tidemark-server")?;
    machine.says(&format!("{SERVER} MainPID"), &pid)?;
    // A stop is a drain, and a clean end.
    machine.run("systemctl stop tidemark-server")?;
    machine.says(&format!("{SERVER} Result,ExecMainStatus"), "success\n0")?;
    machine.run("journalctl --no-pager -u tidemark-server -o cat | grep -q 'not ready any more'")?;
    machine.run("systemctl start tidemark-server").map(|_| ())
}

fn stations_run(machine: &Machine) -> Result<()> {
    // The settings of the package name the file that holds the URL.
    let server = "runuser -u tidemark-server -- tidemark-server";
    machine.run("printf 'name\\nroach\\nbream\\n' >/root/fish.csv; install -d -o tidemark -g tidemark /srv/plant")?;
    for (name, file, unit) in [
        ("north", "/var/lib/tidemark/tidemark.db", "tidemark"),
        ("plant", "/srv/plant/tidemark.db", "tidemark@srv-plant"),
    ] {
        let station = format!("runuser -u tidemark -- tidemark --db {file}");
        machine.run(&format!("{station} init"))?;
        let add = format!("{server} station add {name} --public-url http://127.0.0.1:8787 | tail -n 1");
        machine.run(&format!("{station} join \"$({add})\""))?;
        machine.run(&format!("{station} import --table nomenclature - </root/fish.csv"))?;
        machine.run(&format!("systemctl start {unit}"))?;
        machine.wait_until(&format!("{server} station list | grep -E '^{name} +[0-9]+ +joined +2 '"))?;
        // A reload is the settings anew, and the process is the same.
        let pid = machine.run(&format!("systemctl show {unit} --value -p MainPID"))?;
        machine.run(&format!("systemctl reload {unit}"))?;
        machine.wait_until(&format!("journalctl --no-pager -u {unit} -o cat | grep -q 'SIGHUP: nothing to apply'"))?;
        machine.says(&format!("systemctl show {unit} --value -p MainPID"), &pid)?;
        machine.run(&format!("systemctl stop {unit}"))?;
        machine.says(&format!("systemctl show {unit} --value -p Result,ExecMainStatus"), "success\n0")?;
    }
    Ok(())
}

/// A server that hangs is ended by the watchdog and started anew; one that lives is left alone.
fn watched(machine: &Machine) -> Result<()> {
    machine.run("mkdir -p /run/systemd/system/tidemark-server.service.d
        printf '[Service]\\nWatchdogSec=2\\nRestartSec=100ms\\n' >/run/systemd/system/tidemark-server.service.d/quick.conf
        systemctl daemon-reload; systemctl restart tidemark-server")?;
    let first = machine.run(&format!("{SERVER} WatchdogTimestampMonotonic"))?;
    machine.wait_until(&format!("test $({SERVER} WatchdogTimestampMonotonic) -gt $(({first} + 3000000))"))?;
    machine.says(&format!("{SERVER} NRestarts"), "0")?;
    machine.run(&format!("kill -STOP $({SERVER} MainPID)"))?;
    machine.wait_until(&format!("test $({SERVER} NRestarts) -ge 1 && curl -sf http://127.0.0.1:8787/readyz"))?;
    machine.run("journalctl --no-pager -u tidemark-server -o cat | grep -q 'Watchdog timeout'")?;
    machine.run("rm -r /run/systemd/system/tidemark-server.service.d; systemctl daemon-reload").map(|_| ())
}

fn upgraded(machine: &Machine) -> Result<()> {
    machine.run("echo '# mine' >>/etc/tidemark/tidemark-server.toml")?;
    machine.run("echo sqlite:////var/lib/tidemark-server/./tidemark-upstream.db >/etc/tidemark/database-url")?;
    let before = machine.run(&format!("{SERVER} MainPID"))?;
    machine.run("dpkg --force-confold -i /root/next/tidemark-server.deb")?;
    machine.says("dpkg-query -W -f '${Version}' tidemark-server", "0.1.0-2")?;
    machine
        .says("tail -n 1 /etc/tidemark/tidemark-server.toml; grep -c /./ /etc/tidemark/database-url", "# mine\n1")?;
    machine.wait_until("curl -sf http://127.0.0.1:8787/readyz")?;
    machine.run(&format!("test $({SERVER} MainPID) != {before}"))?;
    // A server that is stopped stays so: an upgrade starts nothing.
    machine.run("systemctl stop tidemark-server")?;
    // Nor does it change whose files are and who may read them: that is the administrator's by now.
    let modes = "stat -c '%a %U:%G %n' /etc/tidemark /etc/tidemark/database-url /etc/tidemark/tidemark-server.toml \
                 /var/lib/tidemark-server /var/lib/tidemark";
    machine.run(
        "cd /etc/tidemark; chmod 711 .; chown root:adm . database-url; chmod 644 tidemark-server.toml
        chmod 755 /var/lib/tidemark-server; chown root:adm /var/lib/tidemark; chmod 2775 /var/lib/tidemark",
    )?;
    let changed = machine.run(modes)?;
    machine.run("dpkg --force-confold -i /root/next/tidemark-server.deb /root/tidemark_*.deb")?;
    machine.says(modes, &changed)?;
    machine.says("systemctl is-active tidemark-server || true", "inactive")?;
    machine
        .run("cd /etc/tidemark; chown root:tidemark-server database-url; chown tidemark:tidemark /var/lib/tidemark")?;
    machine.run("systemctl start tidemark-server").map(|_| ())
}

fn removed(machine: &Machine) -> Result<()> {
    machine.run("dpkg -r tidemark-server tidemark")?;
    machine.says("systemctl list-units --plain --no-legend 'tidemark*'; ls /usr/bin | grep tidemark || true", "")?;
    machine.run("ls /etc/tidemark/database-url /etc/tidemark/tidemark-server.toml")?;
    machine.run("ls /var/lib/tidemark/tidemark.db /var/lib/tidemark-server/tidemark-upstream.db")?;
    // Nobody says that data may go: it stays, and whose it is.
    machine.run("dpkg -P tidemark-server; test ! -e /etc/tidemark")?;
    machine.says("stat -c %U /var/lib/tidemark-server/tidemark-upstream.db", "tidemark-server")?;
    // Somebody does.
    machine.run("echo 'tidemark tidemark/delete-data boolean true' | debconf-set-selections; dpkg -P tidemark")?;
    machine.run("test ! -e /var/lib/tidemark; ! getent passwd tidemark")?;
    // A file elsewhere is no business of the package.
    machine.run("test -e /srv/plant/tidemark.db")?;
    machine.says("find /etc /usr -name '*tidemark*' | sort", "").map(|_| ())
}
