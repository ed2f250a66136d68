//! The plan of a round: who is struck, when, how. A pure function of seed and round; when a blow really falls depends
//! on the machine.

use crate::world::Dice;

/// What may happen to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL; for PostgreSQL, the postmaster and all its processes.
    Kill,
    /// SIGSTOP, and SIGCONT later: a machine that stands still with everything it has locked.
    Stall,
    /// SIGKILL to one process that serves a connection of PostgreSQL.
    KillBackend,
    /// All connections that pass through the wire break.
    Sever,
    /// The wire leads to the next server from now on.
    Lead,
}

/// A blow and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// When, milliseconds from the round's beginning.
    pub at_ms: u64,
    /// What.
    pub blow: Blow,
    /// How long the struck one stays down, in milliseconds.
    pub down_ms: u64,
}

/// How a station is pushed in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `tidemark run` stays.
    Daemon,
    /// `tidemark push`, again and again, as a timer would start it.
    Push,
    /// Both at once on one file.
    Both,
}

/// The plan of one station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationPlan {
    /// How it is pushed.
    pub mode: Mode,
    /// What strikes the processes that push.
    pub sync: Vec<Strike>,
    /// The writers: the seed of each, and what strikes it.
    pub writers: Vec<WriterPlan>,
}

/// The plan of one writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterPlan {
    /// The seed of what it writes.
    pub seed: u64,
    /// Whether it is the Python program.
    pub python: bool,
    /// What strikes it.
    pub strikes: Vec<Strike>,
}

/// The plan of one wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WirePlan {
    /// The seed of the troubles that connections meet.
    pub seed: u64,
    /// How many of a hundred connections meet one.
    pub trouble_percent: u64,
    /// What strikes the wire as a whole.
    pub strikes: Vec<Strike>,
}

/// The plan of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How long the blows go on, in milliseconds.
    pub length_ms: u64,
    /// Whether a further station comes into the world, in the middle of it all.
    pub newcomer: bool,
    /// What strikes each server.
    pub servers: Vec<Vec<Strike>>,
    /// What strikes PostgreSQL.
    pub database: Vec<Strike>,
    /// The wires, one before each server.
    pub wires: Vec<WirePlan>,
    /// What the next station of the world meets, for as many as there may be.
    pub stations: Vec<StationPlan>,
}

/// How large a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Server processes, each with a wire before it.
    pub servers: usize,
    /// Most stations.
    pub stations: usize,
}

impl Plan {
    /// The plan of a round.
    #[must_use]
    pub fn draw(seed: u64, round: u64, shape: Shape) -> Self {
        // Two steps of the generator, so that the plans of neighbouring seeds and rounds have nothing in common.
        let mut dice = Dice::new(Dice::new(seed).next() ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let dice = &mut dice;
        let length_ms = 500 + dice.below(1_000);
        // Not everything in every round: what goes on while others fall counts too.
        let some =
            |dice: &mut Dice, percent: u64, most: u64| if dice.below(100) < percent { 1 + dice.below(most) } else { 0 };
        let strikes = |dice: &mut Dice, count: u64, down_ms: u64, blows: &[Blow]| {
            let mut strikes: Vec<Strike> = (0..count)
                .map(|_| Strike {
                    at_ms: dice.below(length_ms),
                    blow: blows[dice.below(blows.len() as u64) as usize],
                    down_ms: dice.below(down_ms),
                })
                .collect();
            strikes.sort_by_key(|strike| strike.at_ms);
            strikes
        };
        let newcomer = dice.below(6) == 0;
        let servers = (0..shape.servers)
            .map(|_| {
                let count = some(dice, 60, 2);
                strikes(dice, count, 500, &[Blow::Kill, Blow::Kill, Blow::Stall])
            })
            .collect();
        let count = some(dice, 60, 2);
        let database = strikes(dice, count, 300, &[Blow::Kill, Blow::KillBackend]);
        let wires = (0..shape.servers)
            .map(|_| {
                let count = some(dice, 85, 4);
                WirePlan {
                    seed: dice.next(),
                    trouble_percent: 20 + dice.below(70),
                    strikes: strikes(dice, count, 1, &[Blow::Sever, Blow::Sever, Blow::Lead]),
                }
            })
            .collect();
        let stations = (0..shape.stations)
            .map(|_| {
                let mode = [Mode::Daemon, Mode::Push, Mode::Both][dice.below(3) as usize];
                let count = some(dice, 65, 3);
                let sync = strikes(dice, count, 300, &[Blow::Kill]);
                let writers = (0..1 + dice.below(2)).map(|_| {
                    let count = some(dice, 50, 2);
                    let strikes = strikes(dice, count, 200, &[Blow::Kill]);
                    WriterPlan { seed: dice.next(), python: dice.below(3) == 0, strikes }
                });
                let writers = writers.collect();
                StationPlan { mode, sync, writers }
            })
            .collect();
        Self { length_ms, newcomer, servers, database, wires, stations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { servers: 2, stations: 4 };

    #[test]
    fn seed_and_round_fix_the_plan() {
        let plan = Plan::draw(7, 3, SHAPE);
        assert_eq!(plan, Plan::draw(7, 3, SHAPE));
        assert_ne!(plan, Plan::draw(7, 4, SHAPE));
        assert_ne!(plan, Plan::draw(8, 3, SHAPE));
    }

    #[test]
    fn thirty_rounds_hold_every_blow_and_every_mode() {
        let plans: Vec<Plan> = (0..30).map(|round| Plan::draw(1, round, SHAPE)).collect();
        let all = |plan: &Plan| {
            let stations = plan.stations.iter().flat_map(|station| &station.sync).chain(&plan.database);
            let wires = plan.wires.iter().flat_map(|wire| &wire.strikes);
            stations.chain(wires).chain(plan.servers.iter().flatten()).copied().collect::<Vec<_>>()
        };
        for blow in [Blow::Kill, Blow::Stall, Blow::KillBackend, Blow::Sever, Blow::Lead] {
            assert!(plans.iter().flat_map(all).any(|strike| strike.blow == blow), "{blow:?}");
        }
        for mode in [Mode::Daemon, Mode::Push, Mode::Both] {
            assert!(plans.iter().flat_map(|plan| &plan.stations).any(|station| station.mode == mode), "{mode:?}");
        }
        assert!(plans.iter().any(|plan| plan.newcomer));
    }
}
