//! `operator add|list|revoke`: people who may look at the stations and act on them, in a browser or by a program.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tidemark_core::value::hex;

use super::noted::note;
use super::place::{Look, Place, checked_name};
use super::terminal::{print_json, print_table, shown_ms};
use crate::clock::{Clock as _, SystemClock, random_bytes};
use crate::fleet::acts::{COMMAND_LINE, words};
use crate::stations::secret_hash;

#[derive(Subcommand)]
pub(super) enum OperatorCommand {
    /// Let somebody look at the stations and act on them: prints their token, alone on the last line, this once.
    Add(OfName),
    /// Every operator.
    List(Look),
    /// Take an operator's token and sessions away for good, at once.
    Revoke(OfName),
}

#[derive(Args)]
pub(super) struct OfName {
    /// A name for people, which the audit shows; each only once.
    name: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(command: OperatorCommand) -> anyhow::Result<()> {
    match command {
        OperatorCommand::Add(args) => add(&args).await,
        OperatorCommand::List(look) => list(&look).await,
        OperatorCommand::Revoke(args) => revoke(&args).await,
    }
}

async fn add(args: &OfName) -> anyhow::Result<()> {
    let name = checked_name("operator", &args.name)?;
    if name.eq_ignore_ascii_case(COMMAND_LINE) {
        bail!("the audit calls what is typed here {COMMAND_LINE:?}; choose another name");
    }
    let upstream = args.place.upstream().await?;
    let secret = random_bytes::<32>().context("the operating system gives no random bytes")?;
    if !upstream.ledger().add_operator(name, secret_hash(&secret), SystemClock.now_ms()).await? {
        bail!("there is an operator {name:?} already; choose another name");
    }
    note(upstream.as_ref(), words::OPERATOR_ADD, name).await?;
    say!(
        "operator {name} may use /admin in a browser, and /v1/admin/… with the header `Authorization: Bearer TOKEN`; the token is \
         kept nowhere:"
    );
    say!("{}", hex(&secret));
    Ok(())
}

async fn list(look: &Look) -> anyhow::Result<()> {
    let operators = look.place.upstream().await?.ledger().operators().await?;
    if look.json {
        return operators.into_iter().try_for_each(|operator| {
            let (added, revoked) = (operator.created_at_ms, operator.revoked_at_ms);
            print_json(&json!({ "name": operator.name, "added_ms": added, "revoked_ms": revoked }))
        });
    }
    let rows: Vec<Vec<String>> = operators
        .into_iter()
        .map(|operator| vec![operator.name, shown_ms(Some(operator.created_at_ms)), shown_ms(operator.revoked_at_ms)])
        .collect();
    print_table(&["operator", "added (UTC)", "revoked (UTC)"], &rows);
    Ok(())
}

async fn revoke(args: &OfName) -> anyhow::Result<()> {
    let upstream = args.place.upstream().await?;
    if !upstream.ledger().revoke_operator(&args.name, SystemClock.now_ms()).await? {
        bail!("there is no operator {:?}; `tidemark-server operator list` shows all", args.name);
    }
    note(upstream.as_ref(), words::OPERATOR_REVOKE, &args.name).await?;
    say!("operator {} is revoked", args.name);
    Ok(())
}
