//! The server's own parts.

use std::hint::black_box;

use axum::Router;
use bytes::Bytes;
use zero_runtime::ZeroResponse;
use zero_runtime::instrument::{Deadlines, Encoder, Inline, Link, Parser, Reader};
use zero_runtime::service::Tower;

use super::{Op, browser_request, plain_request, response_head};
use crate::app;

/// Connections whose deadlines the wheel holds.
const CONNECTIONS: u32 = 1024;
/// A second, in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;
const HELLO: &str = "Hello, World!";

/// Parser, encoder, dispatch, links and timers.
pub fn parts() -> Vec<Op> {
    vec![
        parse("parse/plain", plain_request()),
        parse("parse/browser", browser_request()),
        read("request/plain", plain_request()),
        read("request/browser", browser_request()),
        read_owned("request/owned-browser", browser_request()),
        encode("encode/http"),
        encode_own("encode/own"),
        dispatch("dispatch/axum"),
        link("link/round"),
        set_deadline("wheel/set"),
        pass_deadlines("wheel/pass"),
    ]
}

fn parse(name: &'static str, head: Vec<u8>) -> Op {
    Op::new(name, move |times| {
        let (head, mut parser) = (head.clone(), Parser::new());
        Box::new(move || {
            for _ in 0..times {
                black_box(parser.parse(black_box(&head)));
            }
        })
    })
}

/// Parsing included. The application drops the request; its map is not given back.
fn read(name: &'static str, head: Vec<u8>) -> Op {
    Op::new(name, move |times| {
        let (head, mut reader) = (head.clone(), Reader::new());
        let mut work = move |times| {
            for _ in 0..times {
                let request = black_box(reader.read(black_box(&head)));
                reader.give_back(request.headers);
            }
        };
        work(64);
        Box::new(move || work(times))
    })
}

fn read_owned(name: &'static str, head: Vec<u8>) -> Op {
    Op::new(name, move |times| {
        let (head, mut reader) = (head.clone(), Reader::new());
        let mut work = move |times| {
            for _ in 0..times {
                black_box(reader.read_owned(black_box(&head)));
            }
        };
        work(64);
        Box::new(move || work(times))
    })
}

fn encode(name: &'static str) -> Op {
    Op::new(name, |times| {
        let (mut parser, mut encoder, head) = (Parser::new(), Encoder::new(), response_head());
        let request = plain_request();
        let asked: Vec<_> = (0..times).map(|_| parser.parse(&request)).collect();
        Box::new(move || {
            for mut asked in asked {
                let body = Bytes::from_static(HELLO.as_bytes());
                black_box(encoder.encode(&mut asked, black_box(&head), body));
            }
        })
    })
}

/// Making the response included.
fn encode_own(name: &'static str) -> Op {
    Op::new(name, |times| {
        let (mut parser, mut encoder) = (Parser::new(), Encoder::new());
        let request = plain_request();
        let asked: Vec<_> = (0..times).map(|_| parser.parse(&request)).collect();
        Box::new(move || {
            for mut asked in asked {
                let response = ZeroResponse::ok().text(black_box(HELLO));
                black_box(encoder.encode_own(&mut asked, response));
            }
        })
    })
}

/// From a request to the end of its response's body, axum's router included.
fn dispatch(name: &'static str) -> Op {
    Op::new(name, |times| {
        let router: Router = app::router();
        let service = Tower(router.with_state::<()>(()));
        let (mut reader, request) = (Reader::new(), plain_request());
        let heads: Vec<_> = (0..times).map(|_| reader.read(&request)).collect();
        let mut inline = Inline::new();
        Box::new(move || {
            for head in heads {
                black_box(inline.call(service.clone(), head));
            }
        })
    })
}

fn link(name: &'static str) -> Op {
    Op::new(name, |times| {
        let mut link = Link::new();
        Box::new(move || (0..times).for_each(|_| link.round()))
    })
}

/// Deadlines that move further off, as every request moves them.
fn set_deadline(name: &'static str) -> Op {
    Op::new(name, |times| {
        let mut deadlines = full_wheel();
        Box::new(move || {
            for n in 0..times as u64 {
                let connection = (n % u64::from(CONNECTIONS)) as u32;
                deadlines.set(connection, black_box((30 * SECOND_NS) + n * 1_000_000));
            }
        })
    })
}

/// A look at the wheel when nothing is due, as every turn has it.
fn pass_deadlines(name: &'static str) -> Op {
    Op::new(name, |times| {
        let mut deadlines = full_wheel();
        Box::new(move || {
            for n in 0..times as u64 {
                black_box(deadlines.pass(black_box(n)));
            }
        })
    })
}

fn full_wheel() -> Deadlines {
    let mut deadlines = Deadlines::new();
    (0..CONNECTIONS).for_each(|connection| deadlines.set(connection, 30 * SECOND_NS));
    deadlines
}
