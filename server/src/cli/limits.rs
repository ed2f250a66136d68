//! The bounds of the endpoint, as `serve` takes them.

use std::time::Duration;

use clap::{Args, value_parser};

use crate::config::HttpLimits;

/// Times are in seconds, up to a day.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Most connections at once; half of them without a token. For one more the longest idle is closed.
    #[arg(long, default_value_t = 8192, value_name = "N", value_parser = value_parser!(u32).range(16..=1_000_000))]
    connections_max: u32,
    /// Most connections of one address without a token, and over a `--trusted-proxy` most requests at once for one.
    /// Behind another proxy all stations have its address: give it as many as the proxy makes.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    address_connections_max: u32,
    /// Most connections of one station.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    station_connections_max: u32,
    /// Most requests at once over one connection, of HTTP/2.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000))]
    connection_streams_max: u32,
    /// Most memory for what requests bring and ask, in MiB: a quarter of it for bodies while they come, a quarter for
    /// decoded batches, an eighth for surveys; the rest is for what is made of them on the way to the database.
    #[arg(long, default_value_t = 512, value_name = "MIB", value_parser = value_parser!(u32).range(128..=1_048_576))]
    memory_max: u32,
    /// Most bodies of one station at once.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000))]
    station_bodies_max: u32,
    /// Most batches decoded at once, which computes; without it as many as the machine has processors.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000))]
    decodes_max: Option<u32>,
    /// Most batches applied at once, one of each station; half as many of those that write one and the same table.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000))]
    applies_max: u32,
    /// Most surveys of rows at once, which `tidemark verify` asks for, one of each station.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000))]
    surveys_max: u32,
    /// Most tokens and join codes that nobody knows which one address may try at once, and a sixth of it a second.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    attempts_max: u32,
    /// The slowest that a body may come, in bytes a second. One that cannot arrive within `--body-timeout` at twice
    /// its rate is cut, too.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = value_parser!(u32).range(0..=1_000_000))]
    body_rate_min: u32,
    /// How long the head of a request or the handshake of TLS may take, and a connection may be idle, in seconds.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = value_parser!(u64).range(1..=86_400))]
    head_timeout: u64,
    /// How long a request may take to come in where no token is asked for, as to join, in seconds.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = value_parser!(u64).range(1..=86_400))]
    anyone_timeout: u64,
    /// How long a peer may take nothing of an answer, in seconds.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = value_parser!(u64).range(1..=86_400))]
    write_timeout: u64,
    /// How long a body may stand still, in seconds; for as long it may at first be slower than `--body-rate-min`.
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = value_parser!(u64).range(1..=86_400))]
    body_idle_timeout: u64,
    /// How long a body may take in all, in seconds.
    #[arg(long, default_value_t = 300, value_name = "S", value_parser = value_parser!(u64).range(1..=86_400))]
    body_timeout: u64,
    /// How long a batch or a survey waits for its turn, in seconds; the station hears 503 then, and comes back.
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = value_parser!(u64).range(1..=86_400))]
    turn_timeout: u64,
    /// How long a request may take from its head to its answer, in seconds.
    #[arg(long, default_value_t = 900, value_name = "S", value_parser = value_parser!(u64).range(1..=86_400))]
    request_timeout: u64,
    /// How long requests are still taken after the signal to stop, in seconds, while /readyz sends new ones elsewhere.
    #[arg(long, default_value_t = 3, value_name = "S", value_parser = value_parser!(u64).range(0..=86_400))]
    drain_grace: u64,
    /// How long running requests may take after that, in seconds. A second signal ends the server at once.
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = value_parser!(u64).range(0..=86_400))]
    drain_timeout: u64,
}

impl LimitArgs {
    /// The bounds they say, and the default ones.
    pub(super) fn limits(&self) -> HttpLimits {
        let (connections_max, seconds) = (self.connections_max as usize, Duration::from_secs);
        let default = HttpLimits::default();
        HttpLimits {
            connections_max,
            unknown_connections_max: connections_max.div_ceil(2),
            address_connections_max: self.address_connections_max as usize,
            station_connections_max: self.station_connections_max as usize,
            connection_streams_max: self.connection_streams_max,
            memory_bytes_max: (self.memory_max as usize) << 20,
            station_bodies_max: self.station_bodies_max as usize,
            decodes_max: self.decodes_max.map_or(default.decodes_max, |decodes| decodes as usize),
            applies_max: self.applies_max as usize,
            surveys_max: self.surveys_max as usize,
            attempts_max: self.attempts_max,
            attempts_per_second: self.attempts_max.div_ceil(6),
            body_rate_min: self.body_rate_min,
            head_timeout: seconds(self.head_timeout),
            anyone_timeout: seconds(self.anyone_timeout),
            write_timeout: seconds(self.write_timeout),
            body_idle_timeout: seconds(self.body_idle_timeout),
            body_timeout: seconds(self.body_timeout),
            turn_timeout: seconds(self.turn_timeout),
            request_timeout: seconds(self.request_timeout),
            drain_grace: seconds(self.drain_grace),
            drain_timeout: seconds(self.drain_timeout),
        }
    }
}

/// The bounds of a server that is told nothing.
#[cfg(test)]
pub(super) fn default_limits() -> HttpLimits {
    use clap::FromArgMatches as _;
    let matches = LimitArgs::augment_args(clap::Command::new("serve")).get_matches_from(["serve"]);
    LimitArgs::from_arg_matches(&matches).expect("every flag has a default").limits()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn what_is_not_said_is_as_in_a_library_but_for_the_grace_time() {
        let said = Program::parse_from(["serve"]).limits.limits();
        assert_eq!(said, HttpLimits { drain_grace: Duration::from_secs(3), ..HttpLimits::default() });
        let said = Program::parse_from(["serve", "--connections-max", "101", "--drain-grace", "0"]).limits.limits();
        assert_eq!((said.connections_max, said.unknown_connections_max, said.drain_grace), (101, 51, Duration::ZERO));
        let said = Program::parse_from([
            "serve",
            "--station-bodies-max=3",
            "--decodes-max=5",
            "--surveys-max=6",
            "--turn-timeout=7",
            "--body-idle-timeout=8",
        ]);
        let (said, seconds) = (said.limits.limits(), Duration::from_secs);
        assert_eq!((said.station_bodies_max, said.decodes_max, said.surveys_max), (3, 5, 6));
        assert_eq!((said.turn_timeout, said.body_idle_timeout), (seconds(7), seconds(8)));
        assert!(Program::try_parse_from(["serve", "--connections-max", "0"]).is_err());
        assert!(Program::try_parse_from(["serve", "--decodes-max", "0"]).is_err());
        assert!(Program::try_parse_from(["serve", "--write-timeout", "0"]).is_err());
    }
}
