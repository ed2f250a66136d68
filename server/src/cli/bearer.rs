//! `operator add|list|revoke`: people who may look at the stations and act on them, in a browser or by a program.
//! `reader add|list|revoke`: programs that may read reports over HTTP. Both have a token of their own.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tidemark_core::value::hex;

use super::place::{Look, Place, checked_name};
use super::terminal::{print_json, print_table, shown_ms};
use crate::clock::{Clock as _, SystemClock, random_bytes};
use crate::fleet::acts::{Bearer, COMMAND_LINE};
use crate::reports::ReportError;
use crate::stations::secret_hash;
use crate::upstream::Upstream;

#[derive(Subcommand)]
pub(super) enum OperatorCommand {
    /// Let somebody look at the stations and act on them: prints their token, alone on the last line, this once.
    Add(OfName),
    /// Every operator.
    List(Look),
    /// Take an operator's token and sessions away for good, at once.
    Revoke(OfName),
}

#[derive(Subcommand)]
pub(super) enum ReaderCommand {
    /// Let a program read reports over HTTP: prints its token, alone on the last line, this once.
    Add(OfName),
    /// Every reader.
    List(Look),
    /// Take a reader's token away for good.
    Revoke(OfName),
}

#[derive(Args)]
pub(super) struct OfName {
    /// A name for people, which the audit shows; each only once.
    name: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn operator(command: OperatorCommand) -> anyhow::Result<()> {
    match command {
        OperatorCommand::Add(args) => add(Bearer::Operator, &args).await,
        OperatorCommand::List(look) => list(Bearer::Operator, &look).await,
        OperatorCommand::Revoke(args) => revoke(Bearer::Operator, &args).await,
    }
}

pub(super) async fn reader(command: ReaderCommand) -> anyhow::Result<()> {
    match command {
        ReaderCommand::Add(args) => add(Bearer::Reader, &args).await,
        ReaderCommand::List(look) => list(Bearer::Reader, &look).await,
        ReaderCommand::Revoke(args) => revoke(Bearer::Reader, &args).await,
    }
}

/// The upstream; for readers it has reports.
async fn open(bearer: Bearer, place: &Place) -> anyhow::Result<Arc<dyn Upstream>> {
    let upstream = place.upstream().await?;
    if bearer == Bearer::Reader {
        upstream.reports().ok_or(ReportError::OtherSchema)?;
    }
    Ok(upstream)
}

/// A word with its article.
const fn one(bearer: Bearer) -> &'static str {
    match bearer {
        Bearer::Operator => "an operator",
        Bearer::Reader => "a reader",
    }
}

async fn add(bearer: Bearer, args: &OfName) -> anyhow::Result<()> {
    let name = checked_name(one(bearer), &args.name)?;
    if bearer == Bearer::Operator && name.eq_ignore_ascii_case(COMMAND_LINE) {
        bail!("the audit calls what is typed here {COMMAND_LINE:?}; choose another name");
    }
    let upstream = open(bearer, &args.place).await?;
    let secret = random_bytes::<32>().context("the operating system gives no random bytes")?;
    let token_hash = secret_hash(&secret);
    if !upstream.add_bearer(bearer, name, token_hash, COMMAND_LINE, SystemClock.now_ms()).await? {
        bail!("there is {} {name:?} already; choose another name", one(bearer));
    }
    match bearer {
        Bearer::Operator => say!(
            "operator {name} may use /admin in a browser, and /v1/admin/… with the header `Authorization: Bearer TOKEN`; the token is \
             kept nowhere:"
        ),
        Bearer::Reader => say!(
            "reader {name} may read /v1/reports/… with the header `Authorization: Bearer TOKEN`; its token is kept nowhere:"
        ),
    }
    say!("{}", hex(&secret));
    Ok(())
}

async fn list(bearer: Bearer, look: &Look) -> anyhow::Result<()> {
    let upstream = open(bearer, &look.place).await?;
    let mut ledger = upstream.ledger();
    let found: Vec<(String, i64, Option<i64>)> = match bearer {
        Bearer::Operator => {
            let all = ledger.operators().await?;
            all.into_iter().map(|one| (one.name, one.created_at_ms, one.revoked_at_ms)).collect()
        }
        Bearer::Reader => {
            let all = ledger.readers().await?;
            all.into_iter().map(|one| (one.name, one.created_at_ms, one.revoked_at_ms)).collect()
        }
    };
    if look.json {
        return found.into_iter().try_for_each(|(name, added, revoked)| {
            print_json(&json!({ "name": name, "added_ms": added, "revoked_ms": revoked }))
        });
    }
    let row = |(name, added, revoked)| vec![name, shown_ms(Some(added)), shown_ms(revoked)];
    let rows: Vec<Vec<String>> = found.into_iter().map(row).collect();
    print_table(&[bearer.as_str(), "added (UTC)", "revoked (UTC)"], &rows);
    Ok(())
}

async fn revoke(bearer: Bearer, args: &OfName) -> anyhow::Result<()> {
    let upstream = open(bearer, &args.place).await?;
    let word = bearer.as_str();
    if !upstream.revoke_bearer(bearer, &args.name, COMMAND_LINE, SystemClock.now_ms()).await? {
        bail!("there is no {word} {:?}; `tidemark-server {word} list` shows all", args.name);
    }
    say!("{word} {} is revoked", args.name);
    Ok(())
}
