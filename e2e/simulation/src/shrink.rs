//! The smallest plan that still fails: what is left is what matters.

use super::faults::FaultSet;
use super::plan::Plan;
use super::world::{Finding, Simulator};

/// Makes a failing plan smaller as long as it fails: fewer faults, stations, servers, writes. The failure may become
/// another one on the way; it is a failure of the product all the same.
#[must_use]
pub fn shrink(simulator: &Simulator, finding: Finding) -> Finding {
    let mut smallest = finding;
    loop {
        let found = candidates(&smallest.plan).into_iter().find_map(|plan| simulator.run(&plan).err());
        match found {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// Plans a step smaller than this one, the boldest first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut smaller = Vec::new();
    let mut add = |candidate: Plan| {
        if candidate != *plan {
            smaller.push(candidate);
        }
    };
    add(Plan { faults: FaultSet::default(), ..*plan });
    add(Plan { stations: 1, ..*plan });
    add(Plan { servers: 1, ..*plan });
    add(Plan { writes: plan.writes.div_ceil(2), ..*plan });
    for fault in plan.faults.iter() {
        add(Plan { faults: plan.faults.without(fault), ..*plan });
    }
    add(Plan { stations: plan.stations.max(2) - 1, ..*plan });
    add(Plan { servers: plan.servers.max(2) - 1, ..*plan });
    add(Plan { writes: plan.writes.max(2) - 1, ..*plan });
    smaller
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_is_smaller_and_the_smallest_has_none() {
        let plan = Plan { seed: 3, stations: 3, servers: 2, writes: 9, faults: FaultSet::all() };
        let size = |plan: &Plan| {
            plan.stations as usize + plan.servers as usize + plan.writes as usize + plan.faults.iter().count()
        };
        assert!(candidates(&plan).iter().all(|smaller| size(smaller) < size(&plan) && smaller.seed == 3));
        let least = Plan { seed: 3, stations: 1, servers: 1, writes: 1, faults: FaultSet::default() };
        assert_eq!(candidates(&least), []);
    }
}
