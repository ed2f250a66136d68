//! The certificates that the server needs to be good, and until when they are; and what clients make of them although
//! TLS can be served with them.

use std::fmt;

use rustls_pki_types::CertificateDer;
use tidemark_core::joincode::Pin;

use super::certificate::{Described, describe, pin_of};

/// How long before its end a certificate is said to run out, in seconds; of one that is made for less, the last third.
const RUNS_OUT_S: i64 = 14 * 86_400;
/// The time between two words that one runs out.
const APART_MS: i64 = 86_400_000;

/// The part that a certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The server's own.
    Server,
    /// One of those that lead from it to its authority.
    Chain,
    /// Of the authority of the clients' certificates.
    ClientCa,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Server, Self::Chain, Self::ClientCa];

    /// Its name in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Chain => "chain",
            Self::ClientCa => "client-ca",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "the server's certificate",
            Self::Chain => "a certificate between the server's and its authority",
            Self::ClientCa => "a certificate of the clients' authority",
        })
    }
}

/// The certificates of a server, as those who watch over them see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needed {
    /// Those that must be good: of each part the one that ends first.
    first_to_end: Vec<(Role, Described)>,
    /// The pins of what is shown to clients.
    pins: Vec<Pin>,
    /// What a client finds wrong with it, whatever the day.
    flaws: Vec<Doubt>,
}

/// What makes clients refuse a server that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// A certificate is not valid now.
    NotNow(Role, Described),
    /// It runs out soon.
    RunsOut(Role, Described),
    /// The server's own has no name and no address that a client could compare.
    Nameless,
    /// The server's own is an authority's.
    Authority,
    /// The certificate at this place, from 2, did not sign the one before it.
    Order(usize),
    /// The one that join codes name is not among those that are shown.
    OtherPin(Pin),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNow(role, described) => write!(
                f,
                "{role} is valid from {} to {} UTC only ({}), and not now: connections are refused; renew it, or set this machine's clock",
                described.from(),
                described.until(),
                described.names.join(", ")
            ),
            Self::RunsOut(role, described) => {
                write!(f, "{role} runs out at {} UTC ({}): renew it", described.until(), described.names.join(", "))
            }
            Self::Nameless => f.write_str(
                "the server's certificate has no name or address that clients compare (subjectAltName): they refuse it, but for \
                 stations that have its own pin",
            ),
            Self::Authority => f.write_str(
                "the first certificate is an authority's: clients refuse it as a server's, but for stations that have its pin. The \
                 server's own stands first",
            ),
            Self::Order(place) => write!(
                f,
                "certificate {place} of the file did not sign the one before it: the server's own stands first, then each that signed \
                 the one before it"
            ),
            Self::OtherPin(pin) => write!(
                f,
                "join codes have the pin {pin} (--server-ca), and no certificate that the server shows has it: whom it invites refuses \
                 this server, unless something before it shows that one"
            ),
        }
    }
}

impl Needed {
    /// Of the chain that is shown, and of the clients' authority.
    pub(super) fn of(
        chain: &[CertificateDer<'_>],
        server: &Described,
        client_ca: &[CertificateDer<'_>],
        pin: Option<Pin>,
    ) -> Self {
        let first = |ders: &[CertificateDer<'_>]| {
            ders.iter().filter_map(|der| describe(der)).min_by_key(|described| described.until_s)
        };
        let others = [(Role::Chain, first(chain.get(1..).unwrap_or_default())), (Role::ClientCa, first(client_ca))];
        let others = others.into_iter().filter_map(|(role, described)| Some((role, described?)));
        let pins: Vec<Pin> = chain.iter().map(|der| pin_of(der)).collect();
        let mut flaws = Vec::new();
        if !server.has_names {
            flaws.push(Doubt::Nameless);
        }
        if server.is_authority {
            flaws.push(Doubt::Authority);
        }
        let out_of_order = chain.windows(2).position(|pair| !is_issued_by(&pair[0], &pair[1]));
        flaws.extend(out_of_order.map(|at| Doubt::Order(at + 2)));
        flaws.extend(pin.filter(|pin| !pins.contains(pin)).map(Doubt::OtherPin));
        Self { first_to_end: [(Role::Server, server.clone())].into_iter().chain(others).collect(), pins, flaws }
    }

    /// Until when the first of each part is good, seconds since 1970 UTC.
    pub(super) fn ends(&self) -> impl Iterator<Item = (Role, i64)> {
        self.first_to_end.iter().map(|(role, described)| (*role, described.until_s))
    }

    /// The pins of what is shown.
    #[cfg(test)]
    pub(super) fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// Those that are not valid now, or run out soon.
    pub(super) fn running_out(&self, now_ms: i64) -> Vec<Doubt> {
        let now_s = now_ms.div_euclid(1_000);
        let of = |(role, described): &(Role, Described)| {
            let soon_s = RUNS_OUT_S.min(described.until_s.saturating_sub(described.from_s) / 3);
            if !described.is_valid_at(now_ms) {
                return Some(Doubt::NotNow(*role, described.clone()));
            }
            (described.until_s.saturating_sub(now_s) <= soon_s).then(|| Doubt::RunsOut(*role, described.clone()))
        };
        self.first_to_end.iter().filter_map(of).collect()
    }

    /// All that makes clients refuse it, now or soon.
    pub(super) fn doubts(&self, now_ms: i64) -> Vec<Doubt> {
        [self.running_out(now_ms), self.flaws.clone()].concat()
    }
}

/// When it was said last that certificates run out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told(pub(super) i64);

impl Told {
    /// Whether it is to be said again: once a day. A clock that was set back does not put it off.
    pub(super) fn is_due(&mut self, now_ms: i64) -> bool {
        let is_due = !(0..APART_MS).contains(&now_ms.saturating_sub(self.0));
        if is_due {
            self.0 = now_ms;
        }
        is_due
    }
}

/// Whether a certificate names another as the one that signed it.
fn is_issued_by(der: &[u8], by: &[u8]) -> bool {
    let read = |der| x509_parser::parse_x509_certificate(der).ok().map(|(_, x509)| x509);
    match (read(der), read(by)) {
        (Some(one), Some(by)) => one.issuer().as_raw() == by.subject().as_raw(),
        // What cannot be read is said elsewhere.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use tidemark_testkit::certificates::Authority;

    use super::*;

    const DAY_S: i64 = 86_400;

    fn described(role_days: (i64, i64)) -> Described {
        let (from_s, until_s) = (role_days.0 * DAY_S, role_days.1 * DAY_S);
        Described { names: vec!["hq.test".into()], has_names: true, is_authority: false, from_s, until_s }
    }

    fn needed(server: (i64, i64), client_ca: (i64, i64)) -> Needed {
        let first_to_end = vec![(Role::Server, described(server)), (Role::ClientCa, described(client_ca))];
        Needed { first_to_end, pins: Vec::new(), flaws: Vec::new() }
    }

    #[test]
    fn a_certificate_runs_out_two_weeks_before_its_end_and_a_short_one_in_its_last_third() {
        let found = |server, day: i64| {
            let doubts = needed(server, (0, 9_000)).running_out(day * DAY_S * 1_000);
            doubts.into_iter().map(|doubt| matches!(doubt, Doubt::RunsOut(Role::Server, _))).collect::<Vec<_>>()
        };
        assert_eq!(
            (found((0, 365), 350), found((0, 365), 351), found((0, 365), 366)),
            (vec![], vec![true], vec![false])
        );
        assert_eq!((found((0, 6), 3), found((0, 6), 4)), (vec![], vec![true]), "one that is good for six days");
        assert_eq!(found((10, 365), 9), [false], "one that is not valid yet");
        let both = needed((0, 9_000), (0, 100)).running_out(90 * DAY_S * 1_000);
        assert!(matches!(both.as_slice(), [Doubt::RunsOut(Role::ClientCa, _)]), "{both:?}");
    }

    #[test]
    fn that_it_runs_out_is_said_once_a_day_also_when_the_clock_is_set_back() {
        let mut told = Told(0);
        let looks = (0..=5 * DAY_S).step_by(7_200);
        assert_eq!(looks.filter(|second| told.is_due(second * 1_000)).count(), 5);
        assert!(told.is_due(0) && !told.is_due(1));
    }

    #[test]
    fn what_clients_refuse_is_found_before_they_do() {
        let (ours, other) = (Authority::new("ours").unwrap(), Authority::new("other").unwrap());
        let own = CertificateDer::from(ours.server(&["hq.test"]).unwrap().der);
        let nameless = CertificateDer::from(ours.server(&[]).unwrap().der);
        let [ca, strange] = [&ours, &other].map(|authority| CertificateDer::from(authority.der().to_vec()));
        let doubts = |chain: &[CertificateDer<'_>], pin| {
            let server = describe(&chain[0]).unwrap();
            Needed::of(chain, &server, &[], pin).doubts(crate::clock::Clock::now_ms(&crate::clock::SystemClock))
        };
        let good = [own.clone(), ca.clone()];
        assert_eq!(doubts(&good, Some(pin_of(&ca))), []);
        assert_eq!(doubts(&good, Some(pin_of(&own))), []);
        assert_eq!(doubts(&good, Some(pin_of(&strange))), [Doubt::OtherPin(pin_of(&strange))]);
        assert_eq!(doubts(&[own.clone(), strange.clone()], None), [Doubt::Order(2)]);
        assert_eq!(doubts(&[nameless], None), [Doubt::Nameless]);
        assert_eq!(doubts(std::slice::from_ref(&ca), None), [Doubt::Nameless, Doubt::Authority]);
        assert_eq!(Needed::of(&good, &describe(&own).unwrap(), &[], None).pins(), [pin_of(&own), pin_of(&ca)]);
        let roles = |client_ca: &[CertificateDer<'_>]| {
            Needed::of(&good, &describe(&own).unwrap(), client_ca, None)
                .ends()
                .map(|(role, _)| role)
                .collect::<Vec<_>>()
        };
        assert_eq!((roles(&[]), roles(&[strange])), (vec![Role::Server, Role::Chain], Role::ALL.to_vec()));
    }
}
