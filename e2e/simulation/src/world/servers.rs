//! What servers do in a run: a request arrives, a reply leaves, or the server dies over it.

use tidemark_client::sync::FailureKind;
use tidemark_core::protocol::Problem;

use super::queue::{Event, Message};
use super::{World, trace};
use crate::dice::Draw as _;
use crate::faults::Fault;
use crate::network::{Back, failure};
use crate::process::header_of;

impl World<'_> {
    pub(super) fn arrive(&mut self, message: Message) -> Result<(), String> {
        let Message { exchange, request, cut, copy, branch } = message;
        let at = self.network.server(self.servers.len());
        let server = &self.servers[at];
        if !server.up {
            if !copy {
                let outcome = Err(failure(FailureKind::Unreached, "connection refused"));
                self.push(20, Event::Outcome { exchange, outcome, late: false });
            }
            return Ok(());
        }
        let server_ms = server.clock.read(self.queue.now_ms);
        let served = server.serve(&self.simulator.runtime, &self.weather, &request, cut);
        for (fault, moment) in &served.hits {
            self.hit(*fault);
            self.coverage.count("moment", format!("{moment:?}"));
        }
        if let Some(wrong) = served.wrong {
            return Err(wrong);
        }
        let frame = header_of(&request.body).filter(|_| cut.is_none()).map(|header| (header, branch, server_ms));
        let status = served.reply.as_ref().map_or(0, |reply| reply.status);
        trace!(self, "server {at} answers #{}{}: {status}", exchange.number, if copy { " (copy)" } else { "" });
        self.oracle.served(exchange.station, frame, served.reply.as_ref(), &mut self.coverage)?;
        let Some(reply) = served.reply else {
            self.crash(at);
            if !copy {
                let outcome = Err(failure(FailureKind::Broken, "the connection was closed"));
                self.push(20, Event::Outcome { exchange, outcome, late: false });
            }
            return Ok(());
        };
        if let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) {
            let code = serde_json::to_value(problem.code).ok().and_then(|code| code.as_str().map(str::to_owned));
            self.coverage.count("problem", code.unwrap_or_default());
        }
        if copy {
            return Ok(());
        }
        let mut hits = Vec::new();
        match self.network.reply(&mut |fault| hits.push(fault)) {
            Back::Arrives(after) => {
                self.push(after, Event::Outcome { exchange, outcome: Ok(reply.clone()), late: false });
                // Delivered once more, long after: by then nobody waits for it.
                if let Some(late) = self.network.late(&mut |fault| hits.push(fault)) {
                    self.push(after + late, Event::Outcome { exchange, outcome: Ok(reply), late: true });
                }
            }
            Back::Cut(after) => {
                let outcome = Err(failure(FailureKind::Broken, "the reply broke off"));
                self.push(after, Event::Outcome { exchange, outcome, late: false });
            }
            Back::Lost => {}
        }
        hits.into_iter().for_each(|fault| self.hit(fault));
        Ok(())
    }

    pub(super) fn crash(&mut self, at: usize) {
        trace!(self, "server {at} is down");
        self.servers[at].up = false;
        let dice = &mut self.strikes[Fault::ServerCrash as usize];
        let after = dice.between(500, 90_000);
        self.push(after, Event::Relent(Fault::ServerCrash, at));
    }
}
