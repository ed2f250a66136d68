//! `reader add|list|revoke`: programs that may read reports over HTTP.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tidemark_core::value::hex;

use super::noted::note;
use super::place::{Look, Place, checked_name};
use super::terminal::{print_json, print_table, shown_ms};
use crate::clock::{Clock as _, SystemClock, random_bytes};
use crate::fleet::acts::words;
use crate::reports::ReportError;
use crate::stations::secret_hash;
use crate::upstream::Upstream;

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
    /// A name for people; each only once.
    name: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(command: ReaderCommand) -> anyhow::Result<()> {
    match command {
        ReaderCommand::Add(args) => add(&args).await,
        ReaderCommand::List(look) => list(&look).await,
        ReaderCommand::Revoke(args) => revoke(&args).await,
    }
}

async fn open(place: &Place) -> anyhow::Result<Arc<dyn Upstream>> {
    let upstream = place.upstream().await?;
    upstream.reports().ok_or(ReportError::OtherSchema)?;
    Ok(upstream)
}

async fn add(args: &OfName) -> anyhow::Result<()> {
    let name = checked_name("reader", &args.name)?;
    let upstream = open(&args.place).await?;
    let secret = random_bytes::<32>().context("the operating system gives no random bytes")?;
    if !upstream.ledger().add_reader(name, secret_hash(&secret), SystemClock.now_ms()).await? {
        bail!("there is a reader {name:?} already; choose another name");
    }
    note(upstream.as_ref(), words::READER_ADD, name).await?;
    say!(
        "reader {name} may read /v1/reports/… with the header `Authorization: Bearer TOKEN`; its token is kept nowhere:"
    );
    say!("{}", hex(&secret));
    Ok(())
}

async fn list(look: &Look) -> anyhow::Result<()> {
    let upstream = open(&look.place).await?;
    let readers = upstream.ledger().readers().await?;
    if look.json {
        return readers.into_iter().try_for_each(|reader| {
            let (added, revoked) = (reader.created_at_ms, reader.revoked_at_ms);
            print_json(&json!({ "name": reader.name, "added_ms": added, "revoked_ms": revoked }))
        });
    }
    let rows: Vec<Vec<String>> = readers
        .into_iter()
        .map(|reader| vec![reader.name, shown_ms(Some(reader.created_at_ms)), shown_ms(reader.revoked_at_ms)])
        .collect();
    print_table(&["reader", "added (UTC)", "revoked (UTC)"], &rows);
    Ok(())
}

async fn revoke(args: &OfName) -> anyhow::Result<()> {
    let upstream = open(&args.place).await?;
    if !upstream.ledger().revoke_reader(&args.name, SystemClock.now_ms()).await? {
        bail!("there is no reader {:?}; `tidemark-server reader list` shows all", args.name);
    }
    note(upstream.as_ref(), words::READER_REVOKE, &args.name).await?;
    say!("reader {} is revoked", args.name);
    Ok(())
}
