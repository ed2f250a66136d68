//! Clients that ask one whole request after the other at a bounded rate.

use std::sync::Arc;
use std::time::Duration;

use super::http::Client;
use super::peer::Battle;
use crate::world::now;

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// The token, where it carries one.
    pub token: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Lets `clients` ask until the attack is over, each at most once in `every`; the `i`-th request of the `n`-th client
/// is made by `make`. Answers are counted by status.
pub async fn ask<M>(battle: &Arc<Battle>, clients: usize, every: Duration, make: M)
where
    M: Fn(usize, u64) -> Ask + Clone + Send + 'static,
{
    let mut all = Vec::new();
    for n in 0..battle.scaled(clients) {
        let (battle, make) = (Arc::clone(battle), make.clone());
        all.push(tokio::spawn(async move {
            let mut client = Client::new(battle.server.clone(), battle.source.address(n));
            for i in 0.. {
                if battle.is_over() {
                    break;
                }
                let began = now();
                let Ask { method, path, token, body } = make(n, i);
                let limit = LIMIT.min(battle.until.saturating_duration_since(began));
                match client.ask(method, path, token.as_deref(), &body, limit).await {
                    Ok(answer) => battle.count(Some(answer.status)),
                    Err(_) if battle.is_over() => break,
                    Err(_) => battle.count(None),
                }
                tokio::time::sleep(every.saturating_sub(began.elapsed())).await;
            }
        }));
    }
    for client in all {
        let _ = client.await;
    }
}
