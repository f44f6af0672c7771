//! What each layer costs a request in instructions, ours beside tower-http's, on zero and on `axum::serve`.
//!
//! Run: `cargo build --release -p zero-bench --bin server --bin layer_counts && target/release/layer_counts`.
//! Needs valgrind; takes some minutes. `--only WORD` for the layers whose names have it;
//! `--runs N` counts each N times, not five.
//!
//! See: a row per layer, with what it adds to a request for plaintext with a browser's nine header fields and a token
//! (scenario `token64`), on either server; one layer within the router, the full stack outside it. Under the table what
//! requests take without layers. Medians of the runs: on zero, which is `zero-inline-sleep` as in `icount`, those lie
//! within some 70 instructions, on `axum::serve` within some 800. The kernel's instructions are not seen.

use std::process::ExitCode;

use zero_bench::args::{Failure, program, warn_if_debug_build};
use zero_bench::case::Case;
use zero_bench::compare::subject::Subject;
use zero_bench::stacks::LAYERS;
use zero_bench::stats::median;
use zero_bench::{icount, scenario};

const SERVERS: [&str; 2] = ["hyper", "zero-inline-sleep"];
const SOURCES: [&str; 2] = ["tower-http", "native"];

fn main() -> ExitCode {
    program(include_str!("layer_counts.rs"), run)
}

fn run() -> Result<(), Failure> {
    let (only, runs) = parse_args()?;
    warn_if_debug_build();
    let count = Count {
        case: Case::from(scenario::find("token64")?),
        runs,
    };

    let mut bare = [0.0; 2];
    for (of_server, server) in bare.iter_mut().zip(SERVERS) {
        *of_server = count.of(server)?;
    }
    println!(
        "| layer | axum::serve, tower-http | axum::serve, ours | zero, tower-http | zero, ours | ours / tower-http |\n\
         |---|---|---|---|---|---|"
    );
    let wanted = |name: &&str| name.contains(&only);
    for layer in LAYERS.into_iter().filter(wanted) {
        println!("{}", row(layer, count.layer(Some(layer))?, bare));
    }
    if wanted(&"the full stack") {
        let stack = count.layer(None)?;
        println!("{}", row("the full stack", stack, bare));
        println!("{}", row("a whole request with it", stack, [0.0; 2]));
    }
    let [hyper, zero] = bare;
    println!("\nwithout layers: axum::serve {hyper:.0}, zero {zero:.0}");
    Ok(())
}

fn parse_args() -> Result<(String, usize), Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let (mut only, mut runs) = (String::new(), 5);
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("only") => only = parser.value()?.string()?,
            Long("runs") => runs = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if runs == 0 {
        return Err("--runs must be at least 1".into());
    }
    Ok((only, runs))
}

/// What is asked for, and how often it is counted.
struct Count {
    case: Case,
    runs: usize,
}

impl Count {
    /// Instructions of a request on either server with their layer and ours; with the full stack if none is named.
    fn layer(&self, layer: Option<&str>) -> Result<[[f64; 2]; 2], Failure> {
        let mut counts = [[0.0; 2]; 2];
        for (of_server, server) in counts.iter_mut().zip(SERVERS) {
            for (count, source) in of_server.iter_mut().zip(SOURCES) {
                let layers = layer.map_or(source.to_owned(), |layer| format!("{source}:{layer}"));
                *count = self.of(&format!("{server}+{layers}"))?;
            }
        }
        Ok(counts)
    }

    /// The median of the runs.
    fn of(&self, subject: &str) -> Result<f64, Failure> {
        let launch = subject.parse::<Subject>()?.launch(false)?;
        let run = |_| icount::between_marks(&self.case, &launch);
        let counts: Result<Vec<f64>, Failure> = (0..self.runs).map(run).collect();
        let counts = counts.map_err(|error| format!("{subject}: {error}"))?;
        Ok(median(&counts))
    }
}

/// What `counts` have beyond `bare`, and the ratio on either server.
fn row(name: &str, counts: [[f64; 2]; 2], bare: [f64; 2]) -> String {
    let over = |server: usize, source: usize| counts[server][source] - bare[server];
    let ratio = |server| over(server, 1) / over(server, 0);
    format!(
        "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2}, {:.2} |",
        over(0, 0),
        over(0, 1),
        over(1, 0),
        over(1, 1),
        ratio(0),
        ratio(1)
    )
}
