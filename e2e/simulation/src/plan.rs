//! What a seed means: how large the world is and which faults happen in it.

use super::dice::{Draw as _, Purpose, stream};
use super::faults::{Fault, FaultSet};

/// A run, wholly determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Everything random follows from it.
    pub seed: u64,
    /// Stations.
    pub stations: u32,
    /// Servers before the one database.
    pub servers: u32,
    /// Transactions that each station's programs make.
    pub writes: u32,
    /// What goes wrong.
    pub faults: FaultSet,
}

impl Plan {
    /// The plan of a seed. Each draws its own subset of the faults: what all of them together would hide shows with
    /// some.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = stream(seed, Purpose::Plan);
        let stations = *dice.pick(&[1, 1, 1, 2, 2, 3, 4]);
        let servers = dice.between(1, 3) as u32;
        let writes = dice.between(3, if stations > 2 { 16 } else { 28 }) as u32;
        let density = *dice.pick(&[0.0, 0.1, 0.2, 0.3, 0.3, 0.5, 0.8]);
        let mut faults = FaultSet::default();
        for &fault in Fault::ALL {
            if dice.chance(density) {
                faults = faults.with(fault);
            }
        }
        Self { seed, stations, servers, writes, faults }
    }

    /// The one command that runs exactly this.
    #[must_use]
    pub fn command(&self) -> String {
        let usual = Self::of(self.seed);
        let mut command = format!("scripts/simulate --seed {}", self.seed);
        let mut option = |differs: bool, name: &str, value: String| {
            if differs {
                command.push_str(&format!(" --{name} {value}"));
            }
        };
        option(self.stations != usual.stations, "stations", self.stations.to_string());
        option(self.servers != usual.servers, "servers", self.servers.to_string());
        option(self.writes != usual.writes, "writes", self.writes.to_string());
        option(self.faults != usual.faults, "faults", self.faults.to_string());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_what_differs_from_the_seeds_own_plan() {
        let plan = Plan::of(7);
        assert_eq!(plan.command(), "scripts/simulate --seed 7");
        let smaller = Plan { writes: plan.writes + 1, faults: FaultSet::default().with(Fault::Delay), ..plan };
        assert_eq!(smaller.command(), format!("scripts/simulate --seed 7 --writes {} --faults delay", plan.writes + 1));
    }

    #[test]
    fn seeds_differ_and_every_fault_is_drawn_by_some() {
        let drawn =
            (0..200).fold(FaultSet::default(), |set, seed| Plan::of(seed).faults.iter().fold(set, FaultSet::with));
        assert_eq!(drawn, FaultSet::all());
        assert!((0..200).any(|seed| Plan::of(seed).faults == FaultSet::default()));
    }
}
