//! `rejects list`.

use clap::{Args, Subcommand};

use super::{Place, print_table, shown_ms};

#[derive(Subcommand)]
pub(super) enum RejectsCommand {
    /// Changes that could not be applied, the newest first.
    List(ListArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// How many to show.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(command: RejectsCommand) -> anyhow::Result<()> {
    let RejectsCommand::List(args) = command;
    let rejects = args.place.upstream().await?.rejects(None, args.limit).await?;
    let rows: Vec<Vec<String>> = rejects
        .into_iter()
        .map(|reject| {
            vec![
                reject.station.to_string(),
                reject.seq.to_string(),
                shown_ms(Some(reject.at_ms)),
                reject.table,
                reject.op,
                reject.code,
                reject.origin,
                reject.message,
            ]
        })
        .collect();
    print_table(&["station", "seq", "captured (UTC)", "table", "op", "code", "at", "message"], &rows);
    Ok(())
}
