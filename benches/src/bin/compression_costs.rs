//! What compressing a JSON body costs, ours beside tower-http's: the time to its first byte and to its last,
//! and its size.
//!
//! Run: `cargo run --release -p zero-bench --bin compression_costs`; `--coding br,zstd`, `--kib 1,16`;
//! `--pairs 21`. For a profiler, `--side ours --times 100` does nothing but that: the difference in
//! instructions between two numbers of times is what so many bodies cost.
//!
//! See: a row per coding and size: medians of both, and ratios of ours to tower-http's with an interval of 95 %.
//! A pair is two medians of some bodies compressed by turns, each side first as often. Both drop a body when
//! its last byte is there, which is not timed.
//!
//! Mind: both crates are built with the same features of the same libraries here. So tower-http gets
//! zlib-rs, which it would not ask for by itself.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer, Service, ServiceExt as _};
use tower_http::compression::CompressionLayer;
use zero_bench::args::{Failure, list, program, warn_if_debug_build};
use zero_bench::ops;
use zero_bench::stats::{Ratio, median};
use zero_tower_layers::compression::ZeroCompressionLayer;

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

struct Args {
    codings: Vec<String>,
    kib: Vec<usize>,
    pairs: usize,
    /// One side alone, so many times.
    alone: Option<(Side, usize)>,
}

#[derive(Clone, Copy)]
enum Side {
    Ours,
    Theirs,
}

fn main() -> ExitCode {
    program(include_str!("compression_costs.rs"), run)
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    warn_if_debug_build();
    ops::silence();
    let known = CODINGS
        .into_iter()
        .filter(|known| args.codings.iter().any(|coding| coding == known));
    let cases = known.flat_map(|coding| args.kib.iter().map(move |kib| (coding, *kib)));
    if let Some((side, times)) = args.alone {
        for (coding, kib) in cases {
            let mut compress = compressor_of(side, coding, kib);
            for _ in 0..times {
                compress();
            }
        }
        return Ok(());
    }
    println!(
        "| coding, JSON | tower-http: first, last | ours: first, last | first, ratio | last, ratio | bytes, ratio |"
    );
    println!("|---|---|---|---|---|---|");
    cases.for_each(|(coding, kib)| print_row(coding, kib, args.pairs));
    Ok(())
}

fn parse_args() -> Result<Args, Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let mut args = Args {
        codings: CODINGS.map(String::from).to_vec(),
        kib: vec![1, 16, 1024],
        pairs: 21,
        alone: None,
    };
    let (mut side, mut times) = (None, 1);
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("coding") => args.codings = list(&mut parser)?,
            Long("kib") => args.kib = list(&mut parser)?,
            Long("pairs") => args.pairs = parser.value()?.parse()?,
            Long("times") => times = parser.value()?.parse()?,
            Long("side") => {
                side = Some(match parser.value()?.string()?.as_str() {
                    "ours" => Side::Ours,
                    "tower-http" => Side::Theirs,
                    other => return Err(format!("{other}: neither ours nor tower-http").into()),
                });
            }
            other => return Err(other.unexpected().into()),
        }
    }
    args.alone = side.map(|side| (side, times));
    Ok(args)
}

fn print_row(coding: &'static str, kib: usize, pairs: usize) {
    let mut both = [Side::Theirs, Side::Ours].map(|side| compressor_of(side, coding, kib));
    // Short bodies come out in microseconds: more of them make up for it.
    let runs_a_pair = if kib < 64 { 40 } else { 4 };
    let mut firsts = [Vec::new(), Vec::new()];
    let mut lasts = [Vec::new(), Vec::new()];
    let mut bytes = [0, 0];
    // The first pair warms up.
    for pair in 0..=pairs {
        let mut runs = [Vec::new(), Vec::new()];
        for run in 0..runs_a_pair {
            // By turns, and each of them first as often.
            for at in [run % 2, (run + 1) % 2] {
                runs[at].push(both[at]());
            }
        }
        for (at, runs) in runs.iter().enumerate().filter(|_| pair > 0) {
            let us = |of: fn(&Compressed) -> Duration| -> Vec<f64> {
                runs.iter().map(|run| of(run).as_secs_f64() * 1e6).collect()
            };
            firsts[at].push(median(&us(|run| run.first)));
            lasts[at].push(median(&us(|run| run.last)));
            bytes[at] = runs[0].bytes;
        }
    }
    let [theirs, ours] =
        [0, 1].map(|at| format!("{:.0}, {:.0} us", median(&firsts[at]), median(&lasts[at])));
    let ratio = |[theirs, ours]: &[Vec<f64>; 2]| {
        Ratio::of_pairs(ours, theirs).map_or_else(String::new, |ratio| {
            format!("{:.2} [{:.2}–{:.2}]", ratio.ratio, ratio.low, ratio.high)
        })
    };
    println!(
        "| {coding}, {kib} KiB | {theirs} | {ours} | {} | {} | {:.3} |",
        ratio(&firsts),
        ratio(&lasts),
        bytes[1] as f64 / bytes[0] as f64,
    );
}

/// Times to the first frame and to the end, and the bytes sent.
struct Compressed {
    first: Duration,
    last: Duration,
    bytes: usize,
}

type Compressor = Box<dyn FnMut() -> Compressed>;

fn compressor_of(side: Side, coding: &'static str, kib: usize) -> Compressor {
    let body = json(kib * 1024);
    match side {
        Side::Ours => compressor(ZeroCompressionLayer::new(), body, coding),
        Side::Theirs => compressor(CompressionLayer::new(), body, coding),
    }
}

fn compressor<L, B>(layer: L, body: Bytes, coding: &'static str) -> Compressor
where
    L: Layer<Answer>,
    L::Service: Service<Request<()>, Response = Response<B>> + Clone + 'static,
    B: http_body::Body<Data = Bytes>,
{
    let service = layer.layer(Answer(body));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    Box::new(move || {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
        runtime.block_on(async {
            let start = Instant::now();
            let Ok(response) = service.clone().oneshot(request).await else {
                unreachable!("the service cannot fail");
            };
            let mut body = std::pin::pin!(response.into_body());
            let (mut first, mut bytes) = (None, 0);
            while let Some(Ok(frame)) = body.frame().await {
                first.get_or_insert_with(|| start.elapsed());
                bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            let last = start.elapsed();
            Compressed {
                first: first.unwrap_or(last),
                last,
                bytes,
            }
        })
    })
}

/// Answers with one body.
#[derive(Clone)]
struct Answer(Bytes);

impl Service<Request<()>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(Full::new(self.0.clone()))))
    }
}

/// Records such as an API answers with, cut to size.
fn json(bytes: usize) -> Bytes {
    let mut text = String::from("[");
    let mut n = 1_u64;
    while text.len() < bytes {
        n = n
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let (id, age, score) = (n >> 40, (n >> 33) % 90, (n >> 20) % 1000);
        text += &format!(
            "{{\"id\":{id},\"name\":\"user {}\",\"age\":{age},\"active\":{},\"score\":{}.{}}},",
            id % 1000,
            age % 2 == 0,
            score / 10,
            score % 10
        );
    }
    text.truncate(bytes);
    text.into()
}
