//! Times the parts of a request's way beside their rivals, each alone on one thread.
//!
//! Run: `cargo run --release -p zero-bench --example micro` (`-- parse` for one group, `-- --sample-count 200`).
//!
//! See: a group per part and a line per contender. Each sample is a thousand operations, so its microseconds
//! are the nanoseconds of one. They are for finding out
//! what a change does to one part; what a request costs as a whole, `compare` says. Caches are warm and
//! branches foreseen here, so the differences are the largest there can be.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use zero_bench::ops::{self, Op};

fn main() {
    ops::silence();
    divan::main();
}

/// Operations of one sample.
const TIMES: usize = 1000;

/// Times an operation, all its repetitions as one; divan divides by their count.
fn time(bencher: Bencher<'_, '_>, op: &Op) {
    op.prepare(TIMES)();
    bencher
        .counter(ItemsCount::new(TIMES))
        .with_inputs(|| op.prepare(TIMES))
        .bench_local_values(|run| run());
}

/// Times a rival's operation in the same way.
fn time_each(bencher: Bencher<'_, '_>, mut operation: impl FnMut()) {
    bencher
        .counter(ItemsCount::new(TIMES))
        .bench_local(|| (0..TIMES).for_each(|_| operation()));
}

fn find(ops: Vec<Op>, name: &str) -> Op {
    let found = ops.into_iter().find(|op| op.name == name);
    found.unwrap_or_else(|| panic!("no operation {name}"))
}

/// A group of operations of ours.
macro_rules! ours {
    ($($group:ident { $($case:ident = $name:literal),* $(,)? })*) => {
        $(#[divan::bench_group]
        mod $group {
            use super::*;
            $(#[divan::bench]
            fn $case(bencher: Bencher<'_, '_>) {
                time(bencher, &find(ops::parts(), $name));
            })*
        })*
    };
}

ours! {
    encode { http_head = "encode/http", own_response = "encode/own" }
    dispatch { axum_router = "dispatch/axum" }
    wheel { set_1_of_1024 = "wheel/set", nothing_due = "wheel/pass" }
}

/// A head to offsets, and to a request; hyper's way is httparse and the `http` types, as its server does it.
#[divan::bench_group]
mod parse {
    use bytes::Bytes;
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use http::{Method, Request, Uri};

    use super::*;

    #[divan::bench(args = ["parse/plain", "parse/browser"])]
    fn ours_to_offsets(bencher: Bencher<'_, '_>, name: &str) {
        time(bencher, &find(ops::parts(), name));
    }

    #[divan::bench(args = ["parse/plain", "parse/browser"])]
    fn httparse_to_offsets(bencher: Bencher<'_, '_>, name: &str) {
        let head = head_of(name);
        time_each(bencher, || {
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut request = httparse::Request::new(&mut headers);
            let parsed = request.parse(black_box(&head)).expect("valid");
            black_box((parsed, request.headers.len()));
        });
    }

    #[divan::bench(args = ["request/plain", "request/browser"])]
    fn ours_to_http(bencher: Bencher<'_, '_>, name: &str) {
        time(bencher, &find(ops::parts(), name));
    }

    #[divan::bench]
    fn ours_to_own_browser(bencher: Bencher<'_, '_>) {
        time(bencher, &find(ops::parts(), "request/owned-browser"));
    }

    #[divan::bench(args = ["request/plain", "request/browser"])]
    fn hyper_to_http(bencher: Bencher<'_, '_>, name: &str) {
        let head = head_of(name);
        let mut map = Some(HeaderMap::with_capacity(16));
        // hyper freezes what it has read: shared, and not copied again.
        let head = Bytes::from(head);
        time_each(bencher, || {
            let request = as_hyper_does(head.clone(), map.take().expect("given back"));
            let mut headers = black_box(request).into_parts().0.headers;
            headers.clear();
            map = Some(headers);
        });
    }

    fn head_of(name: &str) -> Vec<u8> {
        match name.ends_with("browser") {
            true => ops::browser_request(),
            false => ops::plain_request(),
        }
    }

    fn as_hyper_does(head: Bytes, mut map: HeaderMap) -> Request<()> {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut parsed = httparse::Request::new(&mut headers);
        parsed.parse(&head).expect("valid");
        let method = parsed.method.expect("complete").as_bytes();
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(method).expect("valid");
        let target = head.slice_ref(parsed.path.expect("complete").as_bytes());
        *request.uri_mut() = Uri::from_maybe_shared(target).expect("valid");
        map.reserve(parsed.headers.len());
        for header in parsed.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes()).expect("valid");
            let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value));
            map.append(name, value.expect("valid"));
        }
        *request.headers_mut() = map;
        request
    }
}

/// A value there and another back on one thread: what a queue costs without contention. Sizes are those of
/// a call and its answer.
#[divan::bench_group]
mod link {
    use tokio::sync::mpsc;
    use zero_runtime::instrument::Link;

    use super::*;

    type There = [u64; Link::CALL_BYTES / 8];
    type Back = [u64; Link::ANSWER_BYTES / 8];

    /// With its wake-ups, its account of calls, and the right to take a worker's place.
    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        time(bencher, &find(ops::parts(), "link/round"));
    }

    #[divan::bench]
    fn rtrb(bencher: Bencher<'_, '_>) {
        let (mut calls, mut taken) = rtrb::RingBuffer::<There>::new(256);
        let (mut answers, mut back) = rtrb::RingBuffer::<Back>::new(256);
        time_each(bencher, || {
            calls.push(black_box([0; _])).expect("room");
            black_box(taken.pop().expect("a call"));
            answers.push(black_box([0; _])).expect("room");
            black_box(back.pop().expect("an answer"));
        });
    }

    #[divan::bench]
    fn crossbeam_array_queue(bencher: Bencher<'_, '_>) {
        let calls = crossbeam_queue::ArrayQueue::<There>::new(256);
        let answers = crossbeam_queue::ArrayQueue::<Back>::new(256);
        time_each(bencher, || {
            calls.push(black_box([0; _])).expect("room");
            black_box(calls.pop().expect("a call"));
            answers.push(black_box([0; _])).expect("room");
            black_box(answers.pop().expect("an answer"));
        });
    }

    #[divan::bench]
    fn tokio_mpsc(bencher: Bencher<'_, '_>) {
        let (calls, mut taken) = mpsc::channel::<There>(256);
        let (answers, mut back) = mpsc::channel::<Back>(256);
        time_each(bencher, || {
            calls.try_send(black_box([0; _])).expect("room");
            black_box(taken.try_recv().expect("a call"));
            answers.try_send(black_box([0; _])).expect("room");
            black_box(back.try_recv().expect("an answer"));
        });
    }
}

/// Many deadlines that move at every request, in what tokio offers for that.
#[divan::bench_group]
mod wheel_rivals {
    use std::collections::BTreeMap;

    use super::*;

    /// A tree by deadline, as programs without a wheel have it.
    #[divan::bench]
    fn btree_set_1_of_1024(bencher: Bencher<'_, '_>) {
        let mut deadlines: Vec<u64> = (0..1024).map(|n| 30_000_000_000 + n).collect();
        let mut tree: BTreeMap<(u64, u32), ()> = (0..1024)
            .map(|n| ((deadlines[n as usize], n), ()))
            .collect();
        let mut n = 0;
        time_each(bencher, || {
            let connection = (n % 1024) as u32;
            let deadline = &mut deadlines[connection as usize];
            tree.remove(&(*deadline, connection));
            *deadline = black_box(31_000_000_000 + n * 1_000_000);
            tree.insert((*deadline, connection), ());
            n += 1;
        });
    }
}

/// Layers around a service that answers at once: `none` is that service alone, to be taken off.
#[divan::bench_group]
mod layers {
    use super::*;

    const NAMES: [&str; 9] = [
        "layer/none",
        "layer/auth",
        "layer/compression",
        "layer/cors",
        "layer/normalize-path",
        "layer/request-id",
        "layer/sensitive-headers",
        "layer/trace",
        "layer/stack",
    ];

    #[divan::bench(args = NAMES)]
    fn ours(bencher: Bencher<'_, '_>, name: &str) {
        time(bencher, &find(ops::layers(), name));
    }

    #[divan::bench(args = NAMES)]
    fn tower_http(bencher: Bencher<'_, '_>, name: &str) {
        time(bencher, &find(ops::rivals(), name));
    }
}
