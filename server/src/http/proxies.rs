//! The proxies before this server, whose word about a client's address counts (`X-Forwarded-For`). Nobody else's does.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use hyper::HeaderMap;

/// The header in which each proxy adds the address that it saw, on the right.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Most addresses that are looked at: as many proxies may stand one behind the other.
const CHAIN_MAX: usize = 16;

/// An address, or a network: `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// An address of IPv4 as IPv6 writes it.
    bits: u128,
    mask: u128,
}

/// A text names no address and no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNetwork;

impl Display for NoNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write an address, 127.0.0.1, or a network, 10.0.0.0/8")
    }
}

impl std::error::Error for NoNetwork {}

fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.trim().parse().map_err(|_| NoNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = length.map_or(Ok(most), |length| length.trim().parse().map_err(|_| NoNetwork))?;
        if length > most {
            return Err(NoNetwork);
        }
        let mask = u128::MAX.checked_shl(most - length).unwrap_or(0);
        // What is not of an address of IPv4 is the same in all of them.
        let mask = if most == 32 { mask | (u128::MAX << 32) } else { mask };
        Ok(Self { bits: bits(address) & mask, mask })
    }
}

/// The proxies that are believed; none of them unless told.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[Network]>);

impl Proxies {
    /// These.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }

    /// Whether an address is one of theirs.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        self.0.iter().any(|network| bits & network.mask == network.bits)
    }

    /// The client that a proxy speaks for: the last address of the header that is no proxy's. `None` where it says
    /// nothing, or nothing that is an address.
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values = headers.get_all(FORWARDED_FOR).iter().rev().map(|value| value.to_str().unwrap_or("?"));
        let chain = values.flat_map(|value| value.rsplit(',')).take(CHAIN_MAX);
        for said in chain {
            let address = address(said.trim())?;
            if !self.has(address) {
                return Some(address);
            }
        }
        None
    }
}

/// The address of an entry, which some proxies write with the port: `192.0.2.1:50000`, `[2001:db8::1]:50000`.
fn address(said: &str) -> Option<IpAddr> {
    let bracketed = || said.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    said.parse().ok().or_else(|| said.parse::<SocketAddr>().ok().map(|with_port| with_port.ip())).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let of = proxies(&["127.0.0.1", "10.1.0.0/16", "fd00::/8", "::1"]);
        for inside in ["127.0.0.1", "::ffff:127.0.0.1", "10.1.255.255", "fd12::1", "::1"] {
            assert!(of.has(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["127.0.0.2", "10.2.0.0", "::ffff:10.2.0.1", "fe80::1", "::2", "::127.0.0.1"] {
            assert!(!of.has(outside.parse().unwrap()), "{outside}");
        }
        assert!(proxies(&["0.0.0.0/0"]).has("203.0.113.9".parse().unwrap()));
        assert!(!proxies(&["0.0.0.0/0"]).has("2001:db8::1".parse().unwrap()));
        assert!(proxies(&["::/0"]).has("203.0.113.9".parse().unwrap()));
        for wrong in ["", "localhost", "10.0.0.0/33", "::1/129", "10.0.0.0/x", "10.0.0/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(NoNetwork), "{wrong}");
        }
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients_whatever_the_client_says_before_it() {
        let of = proxies(&["10.0.0.0/8"]);
        let client = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            of.client(&headers).map(|address| address.to_string())
        };
        assert_eq!(client(&["203.0.113.9"]).as_deref(), Some("203.0.113.9"));
        assert_eq!(client(&["198.51.100.1, 203.0.113.9"]).as_deref(), Some("203.0.113.9"), "the first may be made up");
        assert_eq!(client(&["198.51.100.1", "203.0.113.9,10.0.0.2 , 10.0.0.1"]).as_deref(), Some("203.0.113.9"));
        assert_eq!(client(&["2001:db8::7"]).as_deref(), Some("2001:db8::7"));
        for (said, is) in [
            ("203.0.113.9:50000", "203.0.113.9"),
            ("198.51.100.1, 203.0.113.9:1,10.0.0.2:2", "203.0.113.9"),
            ("[2001:db8::7]:50000", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
        ] {
            assert_eq!(client(&[said]).as_deref(), Some(is), "{said}");
        }
        for wrong in ["203.0.113.9:", "203.0.113.9:70000", "[203.0.113.9", "[]", "203.0.113.9:1:2", "[2001:db8::7]x"] {
            assert_eq!(client(&[wrong]), None, "{wrong}");
        }
        for nobody in [&[][..], &["10.0.0.1"], &["203.0.113.9, unknown"], &["203.0.113.9,"], &["\u{7f}"[..0].into()]] {
            assert_eq!(client(nobody), None, "{nobody:?}");
        }
        assert_eq!(client(&[&["10.0.0.1"; 40].join(","), ""]), None);
        assert_eq!(client(&[&format!("203.0.113.9,{}", ["10.0.0.1"; 16].join(","))]), None, "a chain has an end");
    }
}
