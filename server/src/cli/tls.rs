//! TLS: what `serve` is told of it, and `tls make|show`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tidemark_core::joincode::Pin;

use super::terminal::{complain, print_json};
use crate::clock::{Clock as _, SystemClock};
use crate::plain::{self, Listener, PlainRemote};
use crate::tls::make::{Made, make};
use crate::tls::{ClientCa, Doubt, Role, TlsFiles, certificates_of, describe, examine, pin_of, pin_of_file};

/// The certificate that `serve` shows.
#[derive(Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// The server's certificate, PEM: its own first, then those that lead to its authority. The files are looked at
    /// every 2 seconds and on SIGHUP; new connections get what they say, and no connection is dropped.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM, not encrypted.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Ask clients for a certificate of this authority (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// What becomes of a client that shows none. One with a certificate of another authority is never let in.
    #[arg(long, value_name = "WHAT", default_value = "required")]
    tls_client_auth: ClientAuth,
    /// The certificate that stations invited from the fleet page are to know this server by, where no public authority
    /// vouches for it: its authority's, or its own, PEM. As `station add --server-ca`.
    #[arg(long, env = "TIDEMARK_SERVER_CA", value_name = "FILE")]
    server_ca: Option<PathBuf>,
    /// Serve plain HTTP although other machines reach the address, that of the metrics, too: a proxy that does TLS
    /// stands in front, or something else keeps the network safe.
    #[arg(long, conflicts_with = "tls_cert")]
    pub(super) allow_plain_http: bool,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClientAuth {
    /// It is not let in.
    Required,
    /// It is let in.
    Optional,
}

impl TlsArgs {
    /// The files they name.
    pub(super) fn files(&self) -> Option<TlsFiles> {
        let (Some(cert), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) else { return None };
        let required = self.tls_client_auth == ClientAuth::Required;
        let client_ca = self.tls_client_ca.clone().map(|file| ClientCa { file, required });
        Some(TlsFiles { cert, key, client_ca })
    }
}

impl TlsArgs {
    /// The pin of the codes that the server makes.
    ///
    /// # Errors
    /// Where the file has no certificate, or several.
    pub(super) fn pin(&self) -> anyhow::Result<Option<Pin>> {
        self.server_ca.as_deref().map(pin_of_file).transpose().context("--server-ca")
    }

    /// What is wrong with the files, and what clients would not like, each with the key of the setting.
    pub(super) fn unfit(&self, now_ms: i64) -> (Vec<Found>, Vec<Found>) {
        let (mut problems, mut doubts): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
        let pin = self.server_ca.as_deref().map(pin_of_file).transpose();
        let pin = pin.unwrap_or_else(|error| {
            problems.push(("server_ca", error.to_string()));
            None
        });
        let Some(files) = self.files() else { return (problems, doubts) };
        match examine(&files, pin, now_ms) {
            Err(error) => {
                let is_of = |file: Option<&PathBuf>| file.is_some_and(|file| file == error.file());
                let key = match () {
                    () if is_of(self.tls_key.as_ref()) => "tls_key",
                    () if is_of(self.tls_client_ca.as_ref()) => "tls_client_ca",
                    () => "tls_cert",
                };
                problems.push((key, error.to_string()));
            }
            Ok(found) => {
                for doubt in found {
                    match &doubt {
                        Doubt::NotNow(Role::ClientCa, _) => problems.push(("tls_client_ca", doubt.to_string())),
                        Doubt::NotNow(..) => problems.push(("tls_cert", doubt.to_string())),
                        Doubt::RunsOut(Role::ClientCa, _) => doubts.push(("tls_client_ca", doubt.to_string())),
                        Doubt::OtherPin(_) => doubts.push(("server_ca", doubt.to_string())),
                        _ => doubts.push(("tls_cert", doubt.to_string())),
                    }
                }
            }
        }
        (problems, doubts)
    }

    /// Whether an address may be listened on, as far as it can be told without the network.
    ///
    /// # Errors
    /// Where others would read what travels.
    pub(super) fn check_listener(&self, listen: &str, listener: Listener) -> Result<(), PlainRemote> {
        // A name is looked up when the server starts.
        let Ok(addr) = listen.parse() else { return Ok(()) };
        plain::check(listener, addr, self.tls_cert.is_some(), self.allow_plain_http)
    }
}

impl TlsArgs {
    /// Of the settings here that name a file which is read once, the hash of what it says.
    ///
    /// # Errors
    /// Where the file has no certificate, or several.
    pub(super) fn contents(&self) -> anyhow::Result<Vec<(&'static str, blake3::Hash)>> {
        Ok(self.pin()?.map(|pin| ("server_ca", blake3::Hash::from_bytes(pin.0))).into_iter().collect())
    }
}

/// The key of a setting, and what was found of it.
type Found = (&'static str, String);

#[derive(Subcommand)]
pub(super) enum TlsCommand {
    /// Make a certificate for this server, and an authority that vouches for it: for a server without a public name.
    /// Where the folder has the authority already, only the server's certificate is made anew.
    Make(MakeArgs),
    /// Show the certificates in a file: names, validity, and the pin of each.
    Show(ShowArgs),
}

#[derive(Args)]
pub(super) struct MakeArgs {
    /// A name or address under which stations reach this server; give it several times for several.
    #[arg(long, required = true, value_name = "NAME|IP")]
    name: Vec<String>,
    /// How long the server's certificate is valid, in days.
    #[arg(long, default_value_t = 825, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// The folder for ca.crt, ca.key, server.crt and server.key.
    folder: PathBuf,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The file, PEM.
    file: PathBuf,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &TlsCommand) -> anyhow::Result<()> {
    match command {
        TlsCommand::Make(args) => run_make(args),
        TlsCommand::Show(args) => show(args),
    }
}

fn run_make(args: &MakeArgs) -> anyhow::Result<()> {
    let made = make(&args.folder, &args.name, args.days, SystemClock.now_ms())?;
    let Made { ca, cert, key, pin, is_new_authority, until } = &made;
    if args.json {
        return print_json(&json!({
            "ca": ca, "cert": cert, "key": key, "pin": pin.to_hex(), "new_authority": is_new_authority, "until": until,
        }));
    }
    let (ca, cert, key) = (ca.display(), cert.display(), key.display());
    if *is_new_authority {
        say!("made the authority {ca}, whose key stays with you: whoever has it can pose as this server");
    }
    say!("made the certificate {cert} for {}, valid until {until} UTC", args.name.join(", "));
    say!("serve with it:     tidemark-server serve --tls-cert {cert} --tls-key {key}");
    say!("invite a station:  tidemark-server station add NAME --public-url https://{} --server-ca {ca}", args.name[0]);
    Ok(())
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let now_ms = SystemClock.now_ms();
    for der in certificates_of(&args.file)? {
        let pin = pin_of(&der);
        let Some(described) = describe(&der) else {
            complain(&format!("{}: a certificate in it cannot be read; its pin is {pin}", args.file.display()));
            continue;
        };
        let (from, until) = (described.from(), described.until());
        if args.json {
            print_json(&json!({
                "names": described.names, "authority": described.is_authority, "from": from, "until": until,
                "valid": described.is_valid_at(now_ms), "pin": pin.to_hex(),
            }))?;
            continue;
        }
        let what = if described.is_authority { "authority" } else { "server" };
        let now = if described.is_valid_at(now_ms) { "" } else { ", not valid now" };
        say!("{what:<10}{}", described.names.join(", "));
        say!("{:<10}{from} to {until} UTC{now}", "valid");
        say!("{:<10}{pin}", "pin");
    }
    Ok(())
}
