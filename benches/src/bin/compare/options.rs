//! What is asked for on the command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

/// The parts of the comparison, in the order in which they are measured.
const PARTS: [&str; 5] = ["inserts", "upserts", "append", "mixed", "growth"];
/// The parts of `growth`, which may be asked for by themselves.
const GROWTH: [&str; 5] = ["upstream", "pending", "chunks", "stations", "references"];

/// What to measure.
#[derive(Debug)]
pub struct Options {
    /// The readings of a round.
    pub rows: u64,
    /// The rounds; medians are taken over them.
    pub rounds: usize,
    /// The parts asked for; none is all.
    only: Vec<String>,
    /// The most rows upstream, or changes pending, that growth goes to.
    pub growth_max: u64,
    /// Where the peers are; `None` leaves them out.
    pub peers: Option<Peers>,
    /// Where the results go as JSON.
    pub out: Option<PathBuf>,
}

/// The programs that scripts/setup-peers installed.
#[derive(Debug)]
pub struct Peers {
    /// The folder with all of them.
    pub root: PathBuf,
    /// A Python with the drivers.
    pub python: PathBuf,
    /// A Node for those of npm.
    pub node: PathBuf,
}

impl Options {
    /// Reads the command line: `[ROWS [ROUNDS]] [--only PART,…] [--growth-max N] [--without-peers] [--out FILE]`.
    ///
    /// # Errors
    /// When a word is not understood.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options =
            Self { rows: 1_000_000, rounds: 5, only: Vec::new(), growth_max: 1_000_000, peers: None, out: None };
        let (mut with_peers, mut numbers) = (true, 0);
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--growth-max" => options.growth_max = value()?.parse().context("--growth-max is no number")?,
                "--out" => options.out = Some(value()?.into()),
                "--without-peers" => with_peers = false,
                number => {
                    let number: u64 = number.parse().with_context(|| format!("{number:?} is not understood"))?;
                    match numbers {
                        0 => options.rows = number,
                        1 => options.rounds = usize::try_from(number)?,
                        _ => bail!("ROWS and ROUNDS are all the numbers"),
                    }
                    numbers += 1;
                }
            }
        }
        ensure!(options.rows >= 10 && options.rounds >= 1, "at least 10 rows and 1 round");
        if let Some(unknown) = options.only.iter().find(|part| !PARTS.iter().chain(&GROWTH).any(|known| known == part))
        {
            bail!("--only {unknown:?}: it is one of {}; or, of growth, {}", PARTS.join(", "), GROWTH.join(", "));
        }
        if with_peers {
            let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
            let found = path("TIDEMARK_PEERS").zip(path("TIDEMARK_PEERS_PYTHON")).zip(path("TIDEMARK_PEERS_NODE"));
            match found {
                Some(((root, python), node)) => options.peers = Some(Peers { root, python, node }),
                None => println!("without the peers of scripts/compare: TIDEMARK_PEERS… do not say where they are"),
            }
        }
        Ok(options)
    }

    /// Whether a part is asked for.
    #[must_use]
    pub fn wants(&self, part: &str) -> bool {
        let asked = |wanted: &String| wanted == part || wanted == "growth" && GROWTH.contains(&part);
        self.only.is_empty() || self.only.iter().any(asked)
    }
}
