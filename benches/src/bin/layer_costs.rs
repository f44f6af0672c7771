//! What each layer costs a request, ours beside tower-http's, inside and outside the router.
//!
//! Run: `cargo run --release -p zero-bench --bin layer_costs` for times; with `--features count-alloc` for
//! allocations too, which makes the times useless. `--rounds 31`; `--only WORD` for the layers whose names have it.
//!
//! See: a row per layer; in each cell what it adds to the router alone, in nanoseconds (and blocks and
//! bytes asked of the heap) a request. A call is `service.clone().oneshot(request)` with the response's
//! body read to its end; the request has a browser's nine header fields and a token, and is made
//! beforehand. Rounds alternate between the variants; a cell is a median. For bodies that are compressed there is
//! `compression_costs`.
//!
//! Mind: both crates are built with the same features of the same libraries here. So tower-http gets
//! `uuid`'s fast generator and zlib-rs, which it would not ask for by itself.

use std::process::ExitCode;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use tower::{Layer, Service, ServiceExt as _};
use tower_http as theirs;
use zero_bench::alloc::AllocCount;
use zero_bench::args::{Failure, program, warn_if_debug_build};
use zero_bench::stacks::their_bearer;
use zero_bench::{
    app, native_request_id, native_stack, ops, scenario, tower_http_request_id, tower_http_stack,
};
use zero_tower_layers as ours;

#[cfg(feature = "count-alloc")]
#[global_allocator]
static ALLOCATOR: zero_bench::alloc::CountingAlloc = zero_bench::alloc::CountingAlloc;

/// Requests of a variant in one round.
const BATCH: usize = 300;

fn main() -> ExitCode {
    program(include_str!("layer_costs.rs"), run)
}

fn run() -> Result<(), Failure> {
    warn_if_debug_build();
    let (rounds, only) = parse_args()?;
    ops::silence();
    print_layers(rounds, &only)
}

fn parse_args() -> Result<(usize, String), Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let (mut rounds, mut only) = (31, String::new());
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("rounds") => rounds = parser.value()?.parse()?,
            Long("only") => only = parser.value()?.string()?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok((rounds, only))
}

// --- layers ---

/// What one request took.
#[derive(Clone, Copy, Default)]
struct Cost {
    ns: f64,
    allocations: f64,
    bytes: f64,
}

impl Cost {
    fn over(self, router: Cost) -> String {
        let ns = self.ns - router.ns;
        if cfg!(feature = "count-alloc") {
            let (blocks, bytes) = (
                self.allocations - router.allocations,
                self.bytes - router.bytes,
            );
            format!("{ns:.0} ns, {blocks:.1}, {bytes:.0} B")
        } else {
            format!("{ns:.0} ns")
        }
    }
}

/// Sends a batch through a service.
type Variant = Box<dyn FnMut(Vec<Request<Body>>) -> Cost>;

fn variant<S, B>(service: S) -> Variant
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    B: http_body::Body,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    Box::new(move |requests| {
        let sent = requests.len() as f64;
        runtime.block_on(async {
            let (before, start) = (AllocCount::now(), Instant::now());
            for request in requests {
                let Ok(response) = service.clone().oneshot(request).await else {
                    unreachable!("the service cannot fail");
                };
                let mut body = std::pin::pin!(response.into_body());
                while body.frame().await.is_some() {}
            }
            let (took, counted) = (start.elapsed(), AllocCount::now().since(before));
            Cost {
                ns: took.as_nanos() as f64 / sent,
                allocations: (counted.allocations + counted.reallocations) as f64 / sent,
                bytes: counted.bytes as f64 / sent,
            }
        })
    })
}

/// A row: the layer inside the router and outside it, theirs and ours.
macro_rules! row {
    ($name:literal, $theirs:expr, $ours:expr) => {
        (
            $name,
            [
                variant(in_use(app::router().layer($theirs))),
                variant(in_use(app::router().layer($ours))),
                variant(Layer::layer(&$theirs, router())),
                variant(Layer::layer(&$ours, router())),
            ],
        )
    };
}

/// As servers have it.
fn router() -> Router {
    in_use(app::router())
}

fn in_use(router: Router) -> Router {
    router.with_state(())
}

fn rows() -> Vec<(&'static str, [Variant; 4])> {
    use ours::compression::ZeroCompressionLayer;
    use ours::cors::ZeroCorsLayer;
    use ours::normalize_path::ZeroNormalizePathLayer;
    use ours::sensitive_headers::ZeroSensitiveHeadersLayer;
    use ours::trace::ZeroTraceLayer;
    use theirs::compression::CompressionLayer;
    use theirs::cors::CorsLayer;
    use theirs::normalize_path::NormalizePathLayer;
    use theirs::sensitive_headers::SetSensitiveHeadersLayer;
    use theirs::trace::TraceLayer;

    vec![
        row!(
            "trace, span filtered out",
            TraceLayer::new_for_http(),
            ZeroTraceLayer::new_for_http()
        ),
        row!(
            "trace, on_failure(())",
            TraceLayer::new_for_http().on_failure(()),
            ZeroTraceLayer::new_for_http().on_failure(())
        ),
        row!(
            "compression, too small",
            CompressionLayer::new(),
            ZeroCompressionLayer::new()
        ),
        row!("CORS", CorsLayer::permissive(), ZeroCorsLayer::permissive()),
        row!(
            "request id",
            tower_http_request_id!(),
            native_request_id!(extensions: true)
        ),
        row!(
            "request id without extensions",
            tower_http_request_id!(),
            native_request_id!(extensions: false)
        ),
        row!(
            "bearer token",
            their_bearer(),
            ours::auth::ZeroAuthLayer::bearer("secret")
        ),
        row!(
            "sensitive headers",
            SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]),
            ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE])
        ),
        row!(
            "normalize path",
            NormalizePathLayer::trim_trailing_slash(),
            ZeroNormalizePathLayer::trim_trailing_slash()
        ),
        row!(
            "all but the path",
            tower_http_stack!(),
            native_stack!(extensions: true)
        ),
        row!(
            "all but the path and the extensions",
            tower_http_stack!(),
            native_stack!(extensions: false)
        ),
    ]
}

fn print_layers(rounds: usize, only: &str) -> Result<(), Failure> {
    let prepare = || -> Result<Vec<Request<Body>>, Failure> {
        let browser = scenario::find("hdr64")?;
        (0..BATCH)
            .map(|_| {
                let mut request = browser.http_request()?;
                let token = HeaderValue::from_static("Bearer secret");
                request.headers_mut().insert(AUTHORIZATION, token);
                Ok(request)
            })
            .collect()
    };
    let mut router = variant(router());
    let mut rows = rows();
    rows.retain(|(name, _)| name.contains(only));
    let width = 1 + rows
        .iter()
        .map(|(_, variants)| variants.len())
        .sum::<usize>();
    let mut costs = vec![Vec::new(); width];
    for round in 0..=rounds {
        let variants =
            std::iter::once(&mut router).chain(rows.iter_mut().flat_map(|row| &mut row.1));
        for (variant, costs) in variants.zip(&mut costs) {
            let cost = variant(prepare()?);
            // The first round warms up.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let mut medians = costs.into_iter().map(median);
    let alone = medians.next().unwrap_or_default();
    println!("router alone: {}\n", alone.over(Cost::default()));
    println!(
        "| layer | tower-http in the router | ours in it | tower-http outside | ours outside |"
    );
    println!("|---|---|---|---|---|");
    for (name, variants) in rows {
        let cells: Vec<_> = medians
            .by_ref()
            .take(variants.len())
            .map(|c| c.over(alone))
            .collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    Ok(())
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.ns.total_cmp(&b.ns));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}
