//! The stations, by what they last reported. Who gathers that hands it over here, whole and now and then.

use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec, Registry};
use tidemark_core::ids::StationNumber;
use tidemark_core::printable::one_line;
use tidemark_core::reject::RejectCode;

use super::make;
use crate::fleet::concern::{CLOCK_OFF_MS, LOW_DISK_BYTES};
use crate::fleet::state::State;

/// The label of the stations that have none of their own.
const OTHER: &str = "other";

/// All states, so that each has its series from the start.
const STATES: [State; 5] = [State::Active, State::Silent, State::Forked, State::Revoked, State::Invited];

/// Whether what a station in this state reported is still of concern.
const fn counts(state: State) -> bool {
    matches!(state, State::Active | State::Silent | State::Forked)
}

/// What is known of one station.
#[derive(Debug, Clone, PartialEq)]
pub struct StationFigures {
    /// Its number, once it joined.
    pub number: Option<StationNumber>,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// When it was last heard of, milliseconds since 1970 UTC.
    pub last_contact_ms: Option<i64>,
    /// The last change of its log that is durable here.
    pub tidemark: u64,
    /// How many of its changes are kept as rejected and open.
    pub rejects_open: u64,
    /// How many changes it had still to push, as last reported.
    pub pending: Option<u64>,
    /// When the oldest of these was made, milliseconds since 1970 UTC, as last reported.
    pub oldest_ms: Option<i64>,
    /// How far its clock was behind the server's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// The free room on its disk, in bytes, as last reported.
    pub free_disk_bytes: Option<u64>,
}

/// All stations, and the open rejects by code.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FleetFigures {
    /// The stations.
    pub stations: Vec<StationFigures>,
    /// How many rejects of each code are open.
    pub rejects_open: Vec<(String, u64)>,
    /// Now, milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// The instruments of the fleet.
#[derive(Debug)]
pub struct Fleet {
    stations: IntGaugeVec,
    reported: IntGauge,
    pending: IntGauge,
    oldest: Gauge,
    silent: Gauge,
    low_disk: IntGauge,
    lowest_disk: Gauge,
    clock_off: IntGauge,
    rejects: IntGaugeVec,
    pending_of: IntGaugeVec,
    tidemark_of: IntGaugeVec,
    rejects_of: IntGaugeVec,
    contact_of: GaugeVec,
}

impl Fleet {
    pub(super) fn new(registry: &Registry) -> Self {
        let own = ["station", "name"];
        Self {
            stations: make::gauges(
                registry,
                "tidemark_stations",
                "Stations by state: active, silent (not heard of for an hour), forked, revoked, invited.",
                &["state"],
            ),
            reported: make::gauge(
                registry,
                "tidemark_stations_reporting",
                "Stations that have told how much they still have to push.",
            ),
            pending: make::gauge(
                registry,
                "tidemark_pending_changes",
                "Changes that stations still have to push, as each last reported.",
            ),
            oldest: make::real(
                registry,
                "tidemark_oldest_pending_seconds",
                "Age of the oldest change that a station still has to push, as last reported.",
            ),
            silent: make::real(
                registry,
                "tidemark_longest_silence_seconds",
                "Time since the station was heard of that has been silent for longest; revoked ones do not count.",
            ),
            low_disk: make::gauge(
                registry,
                "tidemark_stations_low_disk",
                "Stations that last reported less than 1 GiB of free disk.",
            ),
            lowest_disk: make::real(
                registry,
                "tidemark_lowest_free_disk_bytes",
                "The least free disk that a station last reported; NaN while none has.",
            ),
            clock_off: make::gauge(
                registry,
                "tidemark_stations_clock_off",
                "Stations whose clock was last more than five minutes from the server's.",
            ),
            rejects: make::gauges(
                registry,
                "tidemark_rejects_open",
                "Rejected changes that nobody has settled, by code.",
                &["code"],
            ),
            pending_of: make::gauges(
                registry,
                "tidemark_station_pending_changes",
                "With --metrics-per-station: changes that a station still has to push, as last reported.",
                &own,
            ),
            tidemark_of: make::gauges(
                registry,
                "tidemark_station_durable_changes",
                "With --metrics-per-station: changes of a station's log that are durable here.",
                &own,
            ),
            rejects_of: make::gauges(
                registry,
                "tidemark_station_rejects_open",
                "With --metrics-per-station: rejected changes of a station that nobody has settled.",
                &own,
            ),
            contact_of: make::reals(
                registry,
                "tidemark_station_silence_seconds",
                "With --metrics-per-station: time since a station was heard of; of others, the longest.",
                &own,
            ),
        }
    }

    /// Sets all of them. `stations_max` stations have labels of their own.
    pub(super) fn set(&self, figures: &FleetFigures, stations_max: usize) {
        for state in STATES {
            let count = figures.stations.iter().filter(|station| station.state == state).count();
            self.stations.with_label_values(&[state.as_str()]).set(count as i64);
        }
        let counted = || figures.stations.iter().filter(|station| counts(station.state));
        let count = |which: &dyn Fn(&&StationFigures) -> bool| counted().filter(which).count() as i64;
        self.reported.set(count(&|station| station.pending.is_some()));
        self.pending.set(signed(counted().filter_map(|station| station.pending).fold(0, u64::saturating_add)));
        let waiting = counted().filter(|station| station.pending.unwrap_or(0) > 0);
        let oldest_ms = waiting.filter_map(|station| station.oldest_ms).min();
        self.oldest.set(oldest_ms.map_or(0.0, |at_ms| age_s(figures.now_ms, at_ms)));
        self.silent.set(counted().map(|station| silence_s(station, figures.now_ms)).fold(0.0, f64::max));
        self.low_disk.set(count(&|station| station.free_disk_bytes.is_some_and(|free| free < LOW_DISK_BYTES)));
        let lowest = counted().filter_map(|station| station.free_disk_bytes).min();
        self.lowest_disk.set(lowest.map_or(f64::NAN, |free| free as f64));
        let is_off = |offset_ms: i64| offset_ms.unsigned_abs() > CLOCK_OFF_MS;
        self.clock_off.set(count(&|station| station.clock_offset_ms.is_some_and(is_off)));
        self.set_rejects(&figures.rejects_open);
        self.set_each(figures, stations_max);
    }

    /// Codes of a newer server count as `other`.
    fn set_rejects(&self, open: &[(String, u64)]) {
        let of =
            |known: &dyn Fn(&str) -> bool| open.iter().filter(|(code, _)| known(code)).map(|(_, count)| count).sum();
        for code in RejectCode::ALL {
            let count: u64 = of(&|other| other == code.as_str());
            self.rejects.with_label_values(&[code.as_str()]).set(signed(count));
        }
        let others: u64 = of(&|code| RejectCode::from_text(code).is_none());
        self.rejects.with_label_values(&[OTHER]).set(signed(others));
    }

    fn set_each(&self, figures: &FleetFigures, stations_max: usize) {
        for vector in [&self.pending_of, &self.tidemark_of, &self.rejects_of] {
            vector.reset();
        }
        self.contact_of.reset();
        if stations_max == 0 {
            return;
        }
        let mut joined: Vec<(StationNumber, &StationFigures)> = figures
            .stations
            .iter()
            .filter(|station| station.state != State::Revoked)
            .filter_map(|station| Some((station.number?, station)))
            .collect();
        joined.sort_unstable_by_key(|(number, _)| *number);
        let (own, others) = joined.split_at(joined.len().min(stations_max));
        for (number, station) in own {
            self.set_one(&number.to_string(), &one_line(&station.name), &[station], figures.now_ms);
        }
        if !others.is_empty() {
            let others: Vec<&StationFigures> = others.iter().map(|(_, station)| *station).collect();
            self.set_one(OTHER, OTHER, &others, figures.now_ms);
        }
    }

    fn set_one(&self, number: &str, name: &str, stations: &[&StationFigures], now_ms: i64) {
        let sum = |of: fn(&StationFigures) -> u64| {
            signed(stations.iter().map(|station| of(station)).fold(0, u64::saturating_add))
        };
        let labels = [number, name];
        self.pending_of.with_label_values(&labels).set(sum(|station| station.pending.unwrap_or(0)));
        self.tidemark_of.with_label_values(&labels).set(sum(|station| station.tidemark));
        self.rejects_of.with_label_values(&labels).set(sum(|station| station.rejects_open));
        let longest = stations.iter().map(|station| silence_s(station, now_ms)).fold(0.0, f64::max);
        self.contact_of.with_label_values(&labels).set(longest);
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A time that lies ahead, by a wrong clock, is now.
fn age_s(now_ms: i64, at_ms: i64) -> f64 {
    now_ms.saturating_sub(at_ms).max(0) as f64 / 1_000.0
}

fn silence_s(station: &StationFigures, now_ms: i64) -> f64 {
    station.last_contact_ms.map_or(0.0, |at_ms| age_s(now_ms, at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn station(number: u32, state: State) -> StationFigures {
        StationFigures {
            number: StationNumber::new(number).ok(),
            name: format!("s\u{202e}\"{number}\n"),
            state,
            last_contact_ms: Some(NOW_MS - 1_000 * i64::from(number)),
            tidemark: 10,
            rejects_open: 1,
            pending: Some(100),
            oldest_ms: Some(NOW_MS - 5_000 * i64::from(number)),
            clock_offset_ms: Some(if number == 2 { -400_000 } else { 3 }),
            free_disk_bytes: Some(u64::from(number) << 29),
        }
    }

    fn said(metrics: &Metrics, series: &str) -> Option<String> {
        let text = metrics.text();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    #[test]
    fn a_thousand_stations_are_a_handful_of_series_and_with_a_cap_as_many_more_as_it_says() {
        let metrics = Metrics::default();
        let stations: Vec<_> = (1..=1000).map(|number| station(number, State::Active)).collect();
        let figures = FleetFigures { stations, rejects_open: Vec::new(), now_ms: NOW_MS };
        metrics.set_fleet(&figures, 0);
        let without = metrics.text().lines().count();
        assert!(!metrics.text().contains("tidemark_station_"), "no station has a label");
        assert_eq!(said(&metrics, "tidemark_pending_changes").as_deref(), Some("100000"));
        metrics.set_fleet(&figures, 3);
        let text = metrics.text();
        assert_eq!(text.lines().count() - without, 4 * (2 + 4), "4 families of 3 stations and the others");
        let other = "tidemark_station_durable_changes{name=\"other\",station=\"other\"}";
        assert_eq!(said(&metrics, other).as_deref(), Some("9970"));
        let silent = "tidemark_station_silence_seconds{name=\"other\",station=\"other\"}";
        assert_eq!(said(&metrics, silent).as_deref(), Some("1000"));
        assert!(text.contains(r#"name="s\\u202e\"2\\n",station="2""#), "names cannot write lines: {text}");
        metrics.set_fleet(&FleetFigures { stations: figures.stations[5..6].to_vec(), ..figures }, 3);
        assert!(!metrics.text().contains("other\",station"), "what is gone is gone");
    }

    #[test]
    fn who_is_revoked_or_never_came_is_counted_and_concerns_nobody() {
        use State::{Active, Forked, Invited, Revoked, Silent};
        let metrics = Metrics::default();
        let stations = vec![station(1, Active), station(2, Forked), station(3, Silent), station(9, Revoked)];
        let invited = StationFigures { number: None, ..station(8, Invited) };
        let rejects_open = vec![("clock".to_owned(), 7), ("of-next-year".to_owned(), 2)];
        let figures = FleetFigures { stations: [stations, vec![invited]].concat(), rejects_open, now_ms: NOW_MS };
        metrics.set_fleet(&figures, 0);
        for (series, value) in [
            ("tidemark_stations{state=\"active\"}", "1"),
            ("tidemark_stations{state=\"forked\"}", "1"),
            ("tidemark_stations{state=\"silent\"}", "1"),
            ("tidemark_stations{state=\"revoked\"}", "1"),
            ("tidemark_stations{state=\"invited\"}", "1"),
            ("tidemark_pending_changes", "300"),
            ("tidemark_oldest_pending_seconds", "15"),
            ("tidemark_longest_silence_seconds", "3"),
            ("tidemark_stations_low_disk", "1"),
            ("tidemark_lowest_free_disk_bytes", "536870912"),
            ("tidemark_stations_clock_off", "1"),
            ("tidemark_rejects_open{code=\"clock\"}", "7"),
            ("tidemark_rejects_open{code=\"other\"}", "2"),
            ("tidemark_rejects_open{code=\"range\"}", "0"),
        ] {
            assert_eq!(said(&metrics, series).as_deref(), Some(value), "{series}");
        }
    }
}
