//! Nothing that can be asked of a comparison rots: every scenario is run for a moment, every backend of this
//! package answers every scenario as `axum::serve` does, layers, wasted time, several cores and a page made
//! anew work. Nothing here says how fast anything is.
#![cfg(feature = "zero")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use zero_bench::case::{Answer, Case};
use zero_bench::child::{Launch, Pinning, ServerProcess};
use zero_bench::compare::figures::Figures;
use zero_bench::compare::measure::v4;
use zero_bench::compare::record::Record;
use zero_bench::page;
use zero_bench::scenario::SCENARIOS;
use zero_bench::server::{Backend, Home};
use zero_runtime::{BackendChoice, Config, Io};

use crate::patience::at_any_pace;

#[path = "../../zero-runtime/tests/support/patience.rs"]
mod patience;

/// A run of these must last until 64 MiB have been there.
const LONG: [&str; 2] = ["huge", "upload"];

/// A folder of one test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scenarios-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

fn compare(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(arguments).env_remove("CARGO");
    command.output().expect("compare can be run")
}

/// A short comparison, in which every side answers alike and every run is good; none where the kernel refuses.
fn compared(out: &Path, seconds: Duration, arguments: &str) -> Option<Record> {
    let (seconds, folder) = (seconds.as_secs_f64(), out.display());
    let line = format!(
        "{arguments} --runs 1 --seconds {seconds} --warm-up 0.02 --rates none --no-counts --out {folder}"
    );
    let output = compare(&line.split(' ').collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("cannot use io_uring") || said.contains("io_uring is") {
        eprintln!("SKIPPED: io_uring is refused");
        return None;
    }
    assert!(output.status.success(), "{arguments}: {said}");
    let record = Record::read(&out.join("report.json")).expect("it was written");
    for case in &record.cases {
        assert_eq!(case.left_out, [], "{} of {arguments}", case.name);
        for run in case.closed.iter().flatten() {
            assert_eq!(run.problem, None, "{} of {arguments}", case.name);
            assert!(run.outcome.answers > 0, "{} of {arguments}", case.name);
        }
    }
    Some(record)
}

#[test]
fn every_scenario_can_be_run() {
    let out = folder("all");
    let names = SCENARIOS.iter().map(|scenario| scenario.name);
    let (long, short): (Vec<_>, Vec<_>) = names.partition(|name| LONG.contains(name));
    at_any_pace(|unit| {
        for (names, seconds) in [(&short, unit / 4), (&long, 5 * unit)] {
            let arguments = format!("--backend zero --scenario {}", names.join(","));
            let Some(record) = compared(&out, seconds, &arguments) else {
                return;
            };
            let run: Vec<_> = record.cases.iter().map(|case| &*case.name).collect();
            assert_eq!(run, **names);
        }
    });
}

/// Plaintext on connections that stay.
const PLAIN: [&str; 9] = [
    "plain64", "plain1", "plain4", "plain512", "sat256", "hdr64", "token64", "pipe16", "idle10k",
];
/// What servers without a router of axum's answer besides.
const FEW: [&str; 6] = ["churn", "api64", "json64", "users64", "echo1k", "echo64k"];

/// What a backend is not made for: everything else it answers as `axum::serve` does.
fn is_absent(backend: Backend, scenario: &str) -> bool {
    let is_rare = !PLAIN.contains(&scenario) && !FEW.contains(&scenario);
    match backend {
        Backend::UringFloor | Backend::EpollFloor => !PLAIN.contains(&scenario),
        // Requests that come in one piece only.
        Backend::ZeroRaw if scenario == "echo64k" => true,
        Backend::ZeroRaw | Backend::HyperAlone => is_rare,
        _ => backend.is_mode() && is_rare,
    }
}

fn started(backend: Backend) -> ServerProcess {
    let args = ["--backend", backend.name(), "--end-with-parent"];
    let launch = Launch {
        program: env!("CARGO_BIN_EXE_server").into(),
        args: args.map(String::from).into(),
        env: Vec::new(),
        silent_at: None,
    };
    // It says on stderr what is wrong.
    ServerProcess::launch(&launch, &Pinning::Off("not timed".into())).expect("it starts")
}

fn answers(backend: Backend, cases: &[Case]) -> Vec<Result<Vec<Answer>, String>> {
    let server = started(backend);
    let addr = v4(server.addr).expect("an IPv4 address");
    let ask = |case: &Case| case.answers(addr).map_err(|error| error.to_string());
    cases.iter().map(ask).collect()
}

#[test]
fn every_backend_answers_as_axum_serve_does() {
    let config = Config::default().backend(BackendChoice::IoUring);
    if let Err(error) = Io::new(config) {
        eprintln!("SKIPPED: no io_uring: {error}");
        return;
    }
    let cases: Vec<_> = SCENARIOS.iter().map(Case::from).collect();
    let expected = answers(Backend::Hyper, &cases);
    let mut unexpected = Vec::new();
    let backends = Backend::ALL.into_iter().filter(|b| b.home() == Home::Here);
    for backend in backends {
        let found = answers(backend, &cases);
        for ((case, expected), found) in cases.iter().zip(&expected).zip(found) {
            let expected = expected.as_ref().expect("axum::serve answers");
            let is_same = found.as_ref().is_ok_and(|found| {
                let pairs = found.iter().zip(expected);
                found.len() == expected.len()
                    && pairs.into_iter().all(|(a, b)| a.meaning == b.meaning)
            });
            if is_same == is_absent(backend, &case.name) {
                let why = found.err().unwrap_or_else(|| format!("same: {is_same}"));
                unexpected.push(format!("{backend} in {}: {why}", case.name));
            }
        }
    }
    assert_eq!(unexpected, Vec::<String>::new());
}

#[test]
fn layers_of_both_makes_answer_alike_on_both_backends() {
    let out = folder("layers");
    at_any_pace(|unit| {
        for layer in [
            "",
            ":auth",
            ":compression",
            ":cors",
            ":normalize-path",
            ":request-id",
            ":sensitive-headers",
            ":trace",
        ] {
            let sides = [
                "zero+native",
                "zero+tower-http",
                "hyper+native",
                "hyper+tower-http",
            ];
            let sides = sides.map(|side| format!("{side}{layer}")).join(",");
            let arguments = format!("--scenario token64 --backend {sides}");
            let Some(record) = compared(&out, unit / 4, &arguments) else {
                return;
            };
            assert!(record.subjects.iter().all(|s| s.about.contains("layers: ")));
        }
    });
}

#[test]
fn a_side_can_waste_time() {
    let out = folder("waste");
    at_any_pace(|unit| {
        let sides = "zero+burn1000000,hyper+burn1000000,hyper+slow100";
        let arguments = format!("--scenario plain64 --backend {sides}");
        let Some(record) = compared(&out, unit, &arguments) else {
            return;
        };
        assert!(record.subjects[0].about.contains("1000000 ns wasted"));
        assert!(record.subjects[2].about.contains("100 % of its CPU"));
        for side in &record.cases[0].closed[..2] {
            let outcome = &side[0].outcome;
            // A millisecond each, on two threads at most; a machine that stalls only makes them fewer.
            let most = 2_200.0 * outcome.seconds + 64.0;
            assert!(outcome.answers as f64 <= most, "{}", outcome.answers);
        }
    });
}

#[test]
fn servers_of_two_threads_share_two_cores_with_the_load() {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        eprintln!("SKIPPED: one core");
        return;
    }
    let out = folder("cores");
    at_any_pace(|unit| {
        let arguments = "--cores 2 --scenario plain64,db64 --backend zero,hyper";
        let Some(record) = compared(&out, unit / 4, arguments) else {
            return;
        };
        assert!(
            record
                .subjects
                .iter()
                .all(|s| s.about.contains("2 threads"))
        );
        assert!(record.settings.pinning.contains("share cores 0-1"));
    });
}

#[test]
fn a_page_can_be_made_anew() {
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded.json");
    let page = folder("page").join("page.html");
    let paths = [&record, &page].map(|path| path.to_str().expect("plain text"));
    let output = compare(&["--render", paths[0], paths[1]]);
    assert!(output.status.success(), "{output:?}");
    let record = Record::read(&record).expect("a record of this version");
    let made = fs::read_to_string(&page).expect("it was written");
    assert_eq!(made, page::render(&record, &Figures::of(&record)));
}
