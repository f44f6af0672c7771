//! Connections that all come to one shard are spread over all of them. How shards serve them is others'
//! business, so one mode will do: the one in which handlers can tell their shard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use zero_axum::{Config, Io};

use crate::support::client::Client;
use crate::support::directory::Directory;
use crate::support::{Mode, Server, eventually};

/// Makes a test of each `fn(Mode)` named.
macro_rules! on_shards {
    ($($test:ident,)*) => {
        $(
            #[test]
            fn $test() {
                Mode::IoUringInline.run(stringify!($test), self::cases::$test);
            }
        )*
    };
}

on_shards![
    one_shard_cannot_be_overrun,
    without_balance_it_can,
    connections_of_a_shared_queue_are_spread,
    who_comes_while_the_server_ends_is_answered,
    every_place_is_of_use,
    who_waits_gets_a_place_of_another_shard,
    a_shard_that_is_held_up_is_given_no_more,
];

/// Tells the thread it is called on: a shard's.
fn app() -> Router {
    let name = || std::thread::current().name().map(str::to_owned);
    Router::new().route("/", get(async move || name().unwrap_or_default()))
}

/// Shards keep what they have, however long they wait for their cores: who comes to which is looked at here.
fn config(mode: Mode) -> Config {
    mode.config().standby(false)
}

/// Connects so often, and keeps only what the first shard serves.
fn overrun(server: &Server, attempts: usize) -> Vec<Client> {
    let mut kept = Vec::new();
    for _ in 0..attempts {
        let mut client = server.connect();
        match client.get("/").text() {
            "zero-shard-0" => kept.push(client),
            name => assert_eq!(name, "zero-shard-1"),
        }
    }
    kept
}

fn open_by_shard(server: &Server) -> Vec<u64> {
    let shards = server.handle.stats_by_shard();
    shards.iter().map(|stats| stats.connections_open).collect()
}

mod cases {
    use super::*;

    pub(super) fn one_shard_cannot_be_overrun(mode: Mode) {
        let server = mode.serve_with(config(mode), app());
        let kept = overrun(&server, 200);
        assert!(kept.len() < 40, "{} of 200 came to one shard", kept.len());
        assert!(server.stats().connections_given > 0);
        // Whoever comes now goes to the other one, until there are as many.
        let mut others: Vec<Client> = (0..kept.len()).map(|_| server.connect()).collect();
        for client in &mut others {
            assert_eq!(client.get("/").status, 200);
        }
        eventually("both have about as many", || {
            let open = open_by_shard(&server);
            open[0].abs_diff(open[1]) <= 8
        });
    }

    pub(super) fn every_place_is_of_use(mode: Mode) {
        let config = config(mode).connections_max(40).keep_alive_timeout(None);
        let server = mode.serve_with(config, app());
        // None of them is idle, so that none is let go: half a request is behind the first.
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..40 {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n");
            assert_eq!(client.response().status, 200);
            clients.push(client);
        }
        assert_eq!(open_by_shard(&server), [20, 20]);
    }

    pub(super) fn who_waits_gets_a_place_of_another_shard(mode: Mode) {
        let busy = get(std::future::pending::<()>);
        let config = config(mode).connections_max(40);
        let server = mode.serve_with(config, app().route("/busy", busy));
        let (mut zeros, mut ones) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            let mut client = server.connect();
            let is_zeros = client.get("/").text() == "zero-shard-0";
            client.send_get("/busy");
            match is_zeros {
                true => zeros.push(client),
                false => ones.push(client),
            }
        }
        // In both accept queues, as likely as not, and one of each has been accepted already.
        let mut waiting: Vec<Client> = (0..12).map(|_| server.connect()).collect();
        for client in &mut waiting {
            client.send_get("/");
        }
        std::thread::sleep(Duration::from_millis(50));
        drop(ones);
        for client in &mut waiting {
            assert_eq!(client.response().text(), "zero-shard-1");
        }
        // Nor does the full shard stay closed to who comes now.
        for _ in 0..6 {
            let mut client = server.connect();
            assert_eq!(client.get("/").text(), "zero-shard-1");
            waiting.push(client);
        }
    }

    pub(super) fn a_shard_that_is_held_up_is_given_no_more(mode: Mode) {
        let (free, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let is_held = Arc::new(AtomicBool::new(false));
        let begins = is_held.clone();
        let hold = async move || {
            begins.store(true, Ordering::Relaxed);
            let _ = held.lock().unwrap().recv();
        };
        let server = mode.serve_with(config(mode), app().route("/hold", get(hold)));
        // One shard has many and the other one, so that what comes to the first is better the other's.
        let mut all: Vec<Client> = (0..60).map(|_| server.connect()).collect();
        let mut last = None;
        for mut client in std::mem::take(&mut all) {
            match client.get("/").text() {
                "zero-shard-0" => all.push(client),
                _ => last = Some(client),
            }
        }
        let mut last = last.expect("some of sixty come to each");
        eventually("the other has one left", || open_by_shard(&server)[1] == 1);
        last.send_get("/hold");
        eventually("it is held up", || is_held.load(Ordering::Relaxed));
        let given = || server.stats().connections_given;
        let at_first = given();
        eventually("one was given to it", || {
            all.push(server.connect());
            std::thread::sleep(Duration::from_millis(5));
            given() > at_first
        });
        // What had come by then has been given, and is waited for in vain.
        std::thread::sleep(Duration::from_millis(100));
        let before = given();
        for _ in 0..50 {
            all.push(server.connect());
        }
        std::thread::sleep(Duration::from_millis(100));
        let after = given();
        drop(free);
        assert_eq!(after, before, "more were given to it");
    }

    pub(super) fn without_balance_it_can(mode: Mode) {
        let server = mode.serve_with(config(mode).balance(false), app());
        let kept = overrun(&server, 200);
        assert!(kept.len() > 60, "{} of 200 came to one shard", kept.len());
        assert_eq!(server.stats().connections_given, 0);
    }

    pub(super) fn connections_of_a_shared_queue_are_spread(mode: Mode) {
        let directory = Directory::new();
        let path = directory.path().join("socket");
        let mut io = Io::new(config(mode)).unwrap();
        io.http_listen_unix(&path).unwrap();
        io.http_listen(crate::support::loopback()).unwrap();
        let server = mode.serve_io(io, app());
        let mut all = Vec::new();
        for _ in 0..100 {
            let mut client = Client::connect_unix(&path);
            assert_eq!(client.get("/").status, 200);
            all.push(client);
        }
        let open = open_by_shard(&server);
        assert!(open.iter().all(|open| *open >= 40), "{open:?}");
    }

    pub(super) fn who_comes_while_the_server_ends_is_answered(mode: Mode) {
        for _ in 0..20 {
            let server = mode.serve_with(config(mode), app());
            // One shard has many, so that whoever comes to it is on the way to the other.
            let _kept = overrun(&server, 16);
            let mut late: Vec<Client> = (0..30).map(|_| server.connect()).collect();
            for client in &mut late {
                client.send_get("/");
            }
            server.handle.shutdown();
            for client in &mut late {
                assert_eq!(client.response().status, 200);
            }
        }
    }
}
