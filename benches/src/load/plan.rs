//! What to load a server with: requests, connections, pace and time.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::response::Reference;

/// A load, as a whole.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub server: SocketAddrV4,
    /// What is sent, each with its share.
    pub exchanges: Vec<Exchange>,
    /// What opens a connection before its first exchange, as a WebSocket's handshake does; the
    /// answer's status must be 101.
    pub opening: Option<Vec<u8>>,
    /// Connections that carry the load.
    pub connections: usize,
    /// Connections that are opened, make one request, and then stay open without another.
    pub idle_connections: usize,
    /// Requests sent at once on a connection before any answer is awaited. 1 is no pipelining.
    pub pipeline: usize,
    /// Whether every exchange has a connection of its own.
    pub churn: bool,
    /// When requests are sent.
    pub pace: Pace,
    /// Whether a closed loop looks for answers until they come, rather than sleep, on a core of its own: a
    /// server whose answer has to wake the generator pays for that. At a fixed rate it looks anyway.
    pub spin: bool,
    /// Load before anything is counted.
    pub warm_up: Duration,
    /// Load that is counted.
    pub duration: Duration,
}

/// One kind of request and what is known of its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What reports call it.
    pub label: String,
    /// The request's bytes.
    pub request: Vec<u8>,
    /// What must come back.
    pub reply: Reply,
    /// How often it is sent, in proportion to the others. At least 1.
    pub weight: u32,
}

/// What must come back for a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A response.
    Http(Reference),
    /// These bytes: a frame of a protocol that the connection was upgraded to.
    Bytes(Vec<u8>),
    /// A response without end, whose body is messages of so many bytes each. Nothing more is sent;
    /// every message counts as an answer.
    Messages(usize),
}

/// When requests are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// Each connection sends when its last answer has come: the server sets the pace, and a stall of
    /// it delays what would have been measured (coordinated omission).
    Closed,
    /// So many a second in equal steps, whether or not answers come. Latency counts from the moment a
    /// request was due, also when no connection was free to send it.
    Open(f64),
}

impl Plan {
    /// A closed loop of one kind of request on one connection, for a second after a tenth of warm-up.
    pub fn new(server: SocketAddrV4, exchanges: Vec<Exchange>) -> Self {
        Plan {
            server,
            exchanges,
            opening: None,
            connections: 1,
            idle_connections: 0,
            pipeline: 1,
            churn: false,
            pace: Pace::Closed,
            spin: false,
            warm_up: Duration::from_millis(100),
            duration: Duration::from_secs(1),
        }
    }

    /// Says why this plan cannot be carried out, if so.
    pub fn objection(&self) -> Option<&'static str> {
        let is_paced = matches!(self.pace, Pace::Open(_));
        let is_stream = |e: &Exchange| matches!(e.reply, Reply::Messages(_));
        let streams = self.exchanges.iter().any(is_stream);
        if self.exchanges.is_empty() || self.connections == 0 || self.pipeline == 0 {
            Some("a load needs a request, a connection and a pipeline of at least 1")
        } else if self
            .exchanges
            .iter()
            .any(|e| e.weight == 0 || e.request.is_empty())
        {
            Some("a request needs bytes and a weight")
        } else if is_paced && (self.pipeline > 1 || self.churn || streams) {
            Some("a fixed rate goes with neither pipelining, churn nor streams")
        } else if self.churn && (self.pipeline > 1 || self.opening.is_some() || streams) {
            Some("a connection per request goes with neither pipelining, upgrades nor streams")
        } else if matches!(self.pace, Pace::Open(rate) if rate.is_nan() || rate <= 0.0) {
            Some("a rate must be more than 0")
        } else {
            None
        }
    }

    /// The order in which the exchanges take turns: one round, spread evenly.
    pub(super) fn turns(&self) -> Vec<usize> {
        let total: i64 = self.exchanges.iter().map(|e| i64::from(e.weight)).sum();
        // Each gains its weight per turn; the richest goes and pays for everybody.
        let mut credit = vec![0; self.exchanges.len()];
        let turns = (0..total.clamp(1, 10_000)).map(|_| {
            for (credit, exchange) in credit.iter_mut().zip(&self.exchanges) {
                *credit += i64::from(exchange.weight);
            }
            let richest = (0..credit.len()).max_by_key(|&i| (credit[i], std::cmp::Reverse(i)));
            let richest = richest.unwrap_or(0);
            credit[richest] -= total;
            richest
        });
        turns.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(weights: &[u32]) -> Plan {
        let exchange = |&weight: &u32| Exchange {
            label: String::new(),
            request: b"x".to_vec(),
            reply: Reply::Bytes(Vec::new()),
            weight,
        };
        let server = "127.0.0.1:1".parse().expect("an address");
        Plan::new(server, weights.iter().map(exchange).collect())
    }

    #[test]
    fn turns_keep_to_the_weights_and_are_spread() {
        assert_eq!(plan(&[3, 1]).turns(), [0, 0, 1, 0]);
        assert_eq!(plan(&[1, 1]).turns(), [0, 1]);
        assert_eq!(plan(&[5]).turns(), [0; 5]);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let mut paced = plan(&[1]);
        paced.pace = Pace::Open(100.0);
        assert_eq!(paced.objection(), None);
        paced.pipeline = 2;
        assert!(paced.objection().is_some());
        assert!(plan(&[0]).objection().is_some());
        assert!(plan(&[]).objection().is_some());
    }
}
