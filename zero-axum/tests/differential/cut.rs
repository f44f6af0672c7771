//! The same cases cut into pieces: byte by byte, and some of them at every place. Where TCP cuts a
//! request must not show in its answer.

use std::time::Duration;

use crate::play::{App, Differences, Servers, Step};
use crate::requests::{CASES, bytes};
use crate::support::{Mode, in_every_mode};

in_every_mode![byte_by_byte, in_two_at_every_place, with_pauses,];

/// Cases whose answers depend on how much has arrived when the handler answers: under hyper, too.
const WHOLE_ONLY: &[&str] = &[
    "unread body",
    "unread chunked body",
    "body malformed and unread",
    "expect and unread",
];

/// Cases that are short enough, and tell enough, to be cut everywhere.
const CUT_EVERYWHERE: &[&str] = &[
    "hello",
    "bare line feeds",
    "leading blank lines",
    "blanks around values",
    "not ASCII",
    "pipelined",
    "post",
    "post chunked",
    "post chunked in capitals",
    "expect",
    "request trailers",
    "trailers that begin with a line feed",
    "chunk lines by hyper's rules",
    "chunk size malformed",
    "length then chunked",
    "two equal lengths",
    "malformed after a good one",
    "folded",
    "http/1.0 post kept alive",
    "absolute form",
];

fn cases() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let cases = CASES.iter().map(|(name, case)| (*name, bytes(case)));
    cases.filter(|(name, _)| !WHOLE_ONLY.contains(name))
}

fn byte_by_byte(mode: Mode) {
    let servers = Servers::start(mode, App::Plain);
    let mut differences = Differences::default();
    for (name, bytes) in cases() {
        let steps: Vec<_> = bytes.iter().map(|&byte| Step::Send(vec![byte])).collect();
        differences.look(name, &servers, &steps);
    }
    differences.assert_none();
}

fn in_two_at_every_place(mode: Mode) {
    let servers = &Servers::start(mode, App::Plain);
    let chosen: Vec<_> = cases()
        .filter(|(name, _)| CUT_EVERYWHERE.contains(name))
        .collect();
    assert_eq!(chosen.len(), CUT_EVERYWHERE.len(), "a name is wrong");
    std::thread::scope(|scope| {
        for share in chosen.chunks(chosen.len() / 4) {
            scope.spawn(move || cut_everywhere(servers, share));
        }
    });
}

fn cut_everywhere(servers: &Servers, cases: &[(&str, Vec<u8>)]) {
    let mut differences = Differences::default();
    for (name, bytes) in cases {
        for at in 1..bytes.len() {
            let (first, second) = bytes.split_at(at);
            let steps = [
                Step::Send(first.to_vec()),
                Step::Pause(Duration::from_micros(200)),
                Step::Send(second.to_vec()),
            ];
            differences.look(&format!("{name}, cut at {at}"), servers, &steps);
        }
    }
    differences.assert_none();
}

/// Long enough for everything to come to rest between two pieces.
fn with_pauses(mode: Mode) {
    let servers = Servers::start(mode, App::Plain);
    let mut differences = Differences::default();
    for (name, bytes) in cases().filter(|(name, _)| CUT_EVERYWHERE.contains(name)) {
        let mut steps = Vec::new();
        for piece in bytes.chunks(bytes.len().div_ceil(4)) {
            steps.push(Step::Send(piece.to_vec()));
            steps.push(Step::Pause(Duration::from_millis(8)));
        }
        differences.look(name, &servers, &steps);
    }
    differences.assert_none();
}
