//! `tidemark detach`

use std::path::Path;

use serde_json::json;

use super::fatal::Fatal;
use super::show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also when changes are not upstream yet: they, and the rejected ones, are forgotten; the rows themselves stay.
    /// And also when rows were pruned: they stay upstream, and which they were is forgotten.
    #[arg(long)]
    force: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::file::open(db)?;
    let shown = db.display();
    let status = store.status()?;
    if status.pending > 0 && !args.force {
        return Err(Fatal::new(format!(
            "{shown}: {} not upstream yet; `tidemark push` sends them, `tidemark detach --force` forgets them (the rows stay). Nothing was changed",
            show::count_is(status.pending, "change")
        )));
    }
    let pruned = store.pruned_rows()?;
    if pruned > 0 && !args.force {
        return Err(Fatal::new(format!(
            "{shown}: {} pruned from it, and upstream only now; a file without Tidemark could give their keys again. `tidemark detach --force` detaches \
             it all the same. Nothing was changed",
            show::count_with(pruned, "row", ["was", "were"])
        )));
    }
    store.detach()?;
    if args.json {
        show::json(&json!({ "file": db, "forgotten": status.pending, "rejects_forgotten": status.rejects }));
        return Ok(());
    }
    show::line(&format!(
        "{shown}: detached; the tables, rows and programs of the file are as they were, and nothing is captured any more"
    ));
    Ok(())
}
