//! Compares backends by turns and reports: what the program `compare`, and [`user`](crate::user), do.
//!
//! Per row every side runs once, then every side again in the opposite order, and so on (A B, B A): each
//! with a fresh server. Before a row is measured its answers are compared across all sides.

pub mod against;
pub mod build;
pub mod counts;
pub mod expected;
pub mod figures;
pub mod labels;
pub mod measure;
pub mod options;
mod progress;
pub mod record;
pub mod subject;
pub mod text;
mod text_paced;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::args::Failure;
use crate::case::{Answer, Case};
use crate::child::{Launch, Pinning, ServerProcess};
use crate::load::Pace;
use crate::load::idle::raise_descriptors;
use crate::page;
use crate::proc;
use crate::stats::median;

use counts::Tools;
use figures::Figures;
use measure::v4;
use options::Options;
use progress::Progress;
use record::{CaseRecord, Counts, Earlier, Paced, Record, Run, Settings, SubjectRecord};
use subject::Subject;

/// Says how a subject is started; with counted allocations or without.
pub type Launcher<'a> = dyn Fn(&Subject, bool) -> Result<Launch, Failure> + 'a;

/// What is said of an answer whose bytes differ though it means the same.
const OTHER_BYTES: &str =
    "in other bytes: order and case of fields, the reason phrase, Server or Connection";
/// Runs that tell how much a share of a side's CPU is.
const PILOTS: usize = 5;
/// Descriptors that the largest scenario needs.
const DESCRIPTORS: u64 = 12_000;

/// Measures what `options` asks for, prints the tables and writes the reports.
///
/// # Errors
/// When a tool or a program is missing, a server cannot be started, sides answer a row differently, a
/// row has no good run, or what is expected does not come out. Rows that could be measured are reported all the same.
pub fn compare(options: &Options, launcher: &Launcher<'_>) -> Result<(), Failure> {
    let pinning = Pinning::probe_for(options.cores)?;
    if let Pinning::Off(reason) = &pinning {
        eprintln!("warning: nothing is bound to a core, so figures will wander: {reason}");
    }
    // What is said of a missing program is said before anything is measured.
    let launches: Vec<Launch> = options
        .subjects
        .iter()
        .map(|subject| launcher(subject, false))
        .collect::<Result<_, _>>()?;
    raise_descriptors(DESCRIPTORS)?;
    let earlier = options
        .against
        .as_deref()
        .map(|name| -> Result<_, Failure> {
            let mut record = Record::read(&saved(options, name))?;
            record.against = None;
            let name = name.to_owned();
            Ok(Box::new(Earlier { name, record }))
        });
    let earlier = earlier.transpose()?;
    let mut session = Session {
        options,
        launcher,
        launches,
        pinning,
        progress: Progress::new(options),
        failed: Vec::new(),
    };
    let mut record = session.record()?;
    record.against = earlier;
    let figures = Figures::of(&record);
    print!("{}", text::report(&record, &figures));
    write(options, &record, &figures)?;
    if !session.failed.is_empty() {
        let failed = session.failed.join(", ");
        return Err(format!("without a good run, or answered differently: {failed}").into());
    }
    let disappointments = options
        .expected
        .map(|expected| expected.disappointments(&record, &figures));
    match disappointments {
        Some(lines) if !lines.is_empty() => {
            Err(format!("this was not expected:\n{}", lines.join("\n")).into())
        }
        _ => Ok(()),
    }
}

fn saved(options: &Options, name: &str) -> PathBuf {
    options.out.join("saved").join(name).with_extension("json")
}

fn write(options: &Options, record: &Record, figures: &Figures) -> Result<(), Failure> {
    let json = options.out.join("report.json");
    record.write(&json)?;
    if let Some(name) = &options.save {
        record.write(&saved(options, name))?;
    }
    let html = options.out.join("report.html");
    std::fs::write(&html, page::render(record, figures))?;
    eprintln!("wrote {} and {}", html.display(), json.display());
    Ok(())
}

struct Session<'a> {
    options: &'a Options,
    launcher: &'a Launcher<'a>,
    launches: Vec<Launch>,
    pinning: Pinning,
    progress: Progress,
    failed: Vec<String>,
}

impl Session<'_> {
    fn record(&mut self) -> Result<Record, Failure> {
        let options = self.options;
        let mut tools = Tools::find(options);
        let mut cases = Vec::new();
        for case in &options.cases {
            let row = self.case(case, &mut tools);
            let is_good =
                |runs: &Vec<Run>| runs.is_empty() || runs.iter().any(|r| r.problem.is_none());
            let served = row.closed.iter().filter(|runs| !runs.is_empty()).count();
            if served == 0 || !row.closed.iter().all(is_good) {
                self.failed.push(case.name.clone());
            }
            cases.push(row);
        }
        let subjects = options.subjects.iter().zip(&self.launches);
        let subjects = subjects
            .map(|(subject, launch)| self.subject(subject, launch, &mut tools))
            .collect();
        Ok(Record {
            made_at: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            machine: proc::machine(),
            commit: commit(),
            settings: Settings {
                runs: options.runs,
                seconds: options.phases.load.as_secs_f64(),
                warm_up_seconds: options.phases.warm_up.as_secs_f64(),
                pinning: self.pinning.describe(),
                build: match cfg!(debug_assertions) {
                    true => "a debug build, whose figures mean nothing".into(),
                    false => env!("ZERO_BENCH_BUILT_WITH").into(),
                },
            },
            subjects,
            cases,
            notes: tools.into_notes(),
            against: None,
        })
    }

    fn subject(&self, subject: &Subject, launch: &Launch, tools: &mut Tools) -> SubjectRecord {
        let idle = match self.options.counts {
            true => {
                eprintln!("{}: memory of idle connections", subject.label);
                counts::idle_bytes(launch, &self.options.idle, &subject.label, tools)
            }
            false => counts::IdleBytes::default(),
        };
        let mut about = subject.about();
        match self.threads(launch) {
            Ok(1) => about += "; 1 thread",
            Ok(threads) => about += &format!("; {threads} threads in all"),
            Err(error) => tools.note(format!("threads of {}", subject.label), error.to_string()),
        }
        SubjectRecord {
            label: subject.label.clone(),
            about,
            program_bytes: self.program_bytes(subject, tools),
            idle_connection_bytes: idle.connection,
            idle_websocket_bytes: idle.websocket,
        }
    }

    /// How many threads a server has that has been asked something.
    fn threads(&self, launch: &Launch) -> Result<usize, Failure> {
        let server = ServerProcess::launch(launch, &self.pinning)?;
        if let Some(case) = &self.options.idle.connection {
            // Some do not serve it; they are counted all the same.
            let _ = case.answers(v4(server.addr)?);
        }
        // The one that waits for signals is the benchmark's, in every server.
        let own = usize::from(launch.silent_at.is_none());
        Ok(proc::threads(server.pid())?.saturating_sub(own).max(1))
    }

    fn program_bytes(&self, subject: &Subject, tools: &mut Tools) -> Option<u64> {
        if !self.options.sizes {
            return None;
        }
        let bytes = subject
            .sized_program()?
            .and_then(|program| Ok(proc::loaded_bytes(&program)?));
        bytes
            .map_err(|error| {
                let what = format!("size of a program with {}", subject.label);
                tools.note(what, format!("not measured, for {error}"));
            })
            .ok()
    }

    fn case(&mut self, case: &Case, tools: &mut Tools) -> CaseRecord {
        let (case, left_out) = &self.answered(case, tools);
        for (label, why) in left_out {
            eprintln!("{}: {label} is left out: {why}", case.name);
        }
        let serves = |i: usize| {
            left_out
                .iter()
                .all(|(label, _)| *label != self.options.subjects[i].label)
        };
        let served: Vec<usize> = (0..self.options.subjects.len())
            .filter(|&i| serves(i))
            .collect();
        self.slow_down(case, &served);
        self.progress
            .skip((self.options.subjects.len() - served.len()) * self.options.runs);
        let closed = self.runs(case, &served, Pace::Closed, self.options.runs);
        let paced = self.paced(case, &served, &closed);
        CaseRecord {
            name: case.name.clone(),
            title: case.title(),
            counts: self.counts(case, &served, tools),
            closed,
            paced,
            left_out: left_out.clone(),
        }
    }

    /// The case, without those of its requests that no side answers, and who is left out of it. A request that
    /// fails everywhere says nothing of the others.
    fn answered(&self, case: &Case, tools: &mut Tools) -> (Case, Vec<(String, String)>) {
        let left_out = self.compare_answers(case, tools);
        if left_out.len() < self.options.subjects.len() || case.requests.len() == 1 {
            return (case.clone(), left_out);
        }
        let mut answered = case.clone();
        answered.requests.retain(|request| {
            let alone = Case {
                requests: vec![request.clone()],
                ..case.clone()
            };
            let asked = self.launches.iter().map(|launch| self.ask(&alone, launch));
            let errors: Vec<_> = asked.filter_map(Result::err).collect();
            match errors.first() {
                Some(error) if errors.len() == self.launches.len() => {
                    eprintln!("{}: left out, for {error}", case.name);
                    let what = format!("{} in {}", request.label, case.name);
                    tools.note(what, format!("left out, for {error}"));
                    false
                }
                _ => true,
            }
        });
        if answered.requests.is_empty() || answered.requests.len() == case.requests.len() {
            return (case.clone(), left_out);
        }
        let left_out = self.compare_answers(&answered, tools);
        (answered, left_out)
    }

    /// What a fresh server answers.
    fn ask(&self, case: &Case, launch: &Launch) -> Result<Vec<Answer>, Failure> {
        let server = ServerProcess::launch(launch, &self.pinning)?;
        case.answers(v4(server.addr)?)
    }

    /// Who does not answer as the first that answers at all, and why. Who answers the same in other words is
    /// noted.
    fn compare_answers(&self, case: &Case, tools: &mut Tools) -> Vec<(String, String)> {
        let mut left_out = Vec::new();
        let mut first: Option<(&str, Vec<Answer>)> = None;
        for (subject, launch) in self.options.subjects.iter().zip(&self.launches) {
            let label = subject.label.as_str();
            match (self.ask(case, launch), &first) {
                (Err(error), _) => left_out.push((label.into(), error.to_string())),
                (Ok(answers), None) => first = Some((label, answers)),
                (Ok(answers), Some((other, expected))) => {
                    let pairs = || answers.iter().zip(expected);
                    if pairs().any(|(a, b)| a.meaning != b.meaning) {
                        left_out.push((label.into(), difference(other, expected, &answers)));
                    } else if pairs().any(|(a, b)| a.bytes != b.bytes) {
                        let what = format!("{label} in {}", case.name);
                        tools.note(what, format!("the same as {other} answers, {OTHER_BYTES}"));
                    }
                }
            }
        }
        left_out
    }

    /// Finds out how much time the sides that are slowed by a share of their CPU are to waste in this row.
    fn slow_down(&mut self, case: &Case, served: &[usize]) {
        let options = self.options;
        for &side in served {
            let subject = &options.subjects[side];
            let Some(percent) = subject.slow_percent else {
                continue;
            };
            let plain = Subject {
                slow_percent: None,
                ..subject.clone()
            };
            let slowed = (self.launcher)(&plain, false).and_then(|launch| {
                let run =
                    |_| measure::run(case, &launch, &self.pinning, options.phases, Pace::Closed);
                let runs: Vec<Run> = (0..PILOTS).map(run).collect::<Result<_, _>>()?;
                let cpu = |run: &Run| run.cpu_seconds * 1e9 / run.outcome.answers.max(1) as f64;
                let cpu_ns = median(&runs.iter().map(cpu).collect::<Vec<_>>());
                let burn_ns = (cpu_ns * percent / 100.0).round() as u64;
                eprintln!(
                    "{}: {} wastes {burn_ns} ns of {cpu_ns:.0}",
                    case.name, subject.label
                );
                (self.launcher)(&Subject { burn_ns, ..plain }, false)
            });
            match slowed {
                Ok(launch) => self.launches[side] = launch,
                Err(error) => {
                    eprintln!("{}: {} is not slowed: {error}", case.name, subject.label);
                    if !self.failed.contains(&case.name) {
                        self.failed.push(case.name.clone());
                    }
                }
            }
        }
    }

    /// Runs the sides by turns; each side's runs.
    fn runs(&mut self, case: &Case, sides: &[usize], pace: Pace, rounds: usize) -> Vec<Vec<Run>> {
        let mut runs = vec![Vec::new(); self.options.subjects.len()];
        for round in 0..rounds {
            let mut order = sides.to_vec();
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                let run = measure::run(
                    case,
                    &self.launches[side],
                    &self.pinning,
                    self.options.phases,
                    pace,
                );
                let run = run.unwrap_or_else(|error| Run {
                    problem: Some(error.to_string()),
                    ..Run::default()
                });
                let label = &self.options.subjects[side].label;
                self.progress.tell(&case.name, label, pace, &run);
                runs[side].push(run);
            }
        }
        runs
    }

    /// Runs at shares of what the slowest side can do.
    fn paced(&mut self, case: &Case, sides: &[usize], closed: &[Vec<Run>]) -> Vec<Paced> {
        let capacity = |&side: &usize| {
            let good = closed[side].iter().filter(|run| run.problem.is_none());
            median(&good.map(|run| run.outcome.per_second()).collect::<Vec<_>>())
        };
        let slowest = sides.iter().map(capacity).fold(f64::INFINITY, f64::min);
        if !case.paced || !slowest.is_finite() {
            return Vec::new();
        }
        let rounds = self.options.runs.div_ceil(2);
        let shares = self.options.shares.clone();
        let paced = shares.into_iter().map(|share| {
            let per_second = share * slowest;
            let runs = self.runs(case, sides, Pace::Open(per_second), rounds);
            Paced {
                share,
                per_second,
                runs,
            }
        });
        paced.collect()
    }

    fn counts(&self, case: &Case, served: &[usize], tools: &mut Tools) -> Vec<Counts> {
        if self.options.counts {
            eprintln!("{}: counting", case.name);
        }
        let counts = |i: usize| {
            if !self.options.counts || !served.contains(&i) {
                return Counts::default();
            }
            let subject = &self.options.subjects[i];
            let slow = Subject {
                backend: subject.backend.under_callgrind(),
                ..subject.clone()
            };
            let launches = (self.launcher)(subject, true).and_then(|counting| {
                let slow = (self.launcher)(&slow, false)?;
                Ok((counting, slow))
            });
            match launches {
                Ok((counting, slow)) => {
                    let launches = counts::Launches {
                        plain: &self.launches[i],
                        counting: &counting,
                        slow: &slow,
                    };
                    tools.count(case, &subject.label, &launches)
                }
                Err(error) => {
                    tools.note(format!("counts of {}", subject.label), error.to_string());
                    Counts::default()
                }
            }
        };
        (0..self.options.subjects.len()).map(counts).collect()
    }
}

/// Shows where two sides' answers part.
fn difference(other: &str, expected: &[Answer], found: &[Answer]) -> String {
    let meaning = |answers: &[Answer]| {
        answers
            .iter()
            .map(|a| a.meaning.clone())
            .collect::<Vec<_>>()
    };
    let (expected, found) = (meaning(expected), meaning(found));
    let pair = expected.iter().zip(&found).find(|(a, b)| a != b);
    let Some((expected, found)) = pair else {
        return format!("it answers another number of requests than {other}");
    };
    let at = expected
        .iter()
        .zip(found)
        .take_while(|(a, b)| a == b)
        .count();
    let show = |bytes: &[u8]| {
        let from = at.saturating_sub(20).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..bytes.len().min(at + 60)]).into_owned()
    };
    format!(
        "it answers {:?} where {other} answers {:?}",
        show(found),
        show(expected)
    )
}

/// The commit of the folder this runs in, with a mark when files differ from it.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    Some(if is_changed {
        format!("{head} and changes")
    } else {
        head
    })
}

/// Reads a record and writes its page anew.
///
/// # Errors
/// When the record cannot be read or the page not be written.
pub fn render_again(record: &Path, page: &Path) -> Result<(), Failure> {
    let record = Record::read(record)?;
    std::fs::write(page, page::render(&record, &Figures::of(&record)))?;
    Ok(())
}
