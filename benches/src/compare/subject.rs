//! What is compared: a backend, with what may be done to it, and how to start it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::args::Failure;
use crate::child::{Launch, sibling};
use crate::server::{Backend, Home};
use crate::stacks::Stack;

/// One side of a comparison, as the command line names it:
/// `NAME[@mimalloc][+LAYERS][+burnNANOSECONDS][+slowPERCENT]`, with layers as [`Stack`] names them.
#[derive(Clone, PartialEq, Debug)]
pub struct Subject {
    /// What reports call it; differs from every other subject's.
    pub label: String,
    /// What serves.
    pub backend: Backend,
    /// Whether its allocator is mimalloc.
    pub has_mimalloc: bool,
    /// Layers around its application.
    pub stack: Option<Stack>,
    /// Time wasted in each of its requests, in nanoseconds.
    pub burn_ns: u64,
    /// Time to be wasted in each of its requests, as a share of the CPU that it takes without, in percent.
    pub slow_percent: Option<f64>,
    /// Threads that serve.
    pub threads: usize,
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, slow_percent) = match text.split_once("+slow") {
            None => (text, None),
            Some((rest, percent)) => {
                let share = percent
                    .parse()
                    .ok()
                    .filter(|share| (0.1..=1000.0).contains(share));
                let share = share.ok_or_else(|| {
                    format!("{percent:?} in {text:?} is no percentage from 0.1 on")
                })?;
                (rest, Some(share))
            }
        };
        let (rest, burn_ns) = match rest.split_once("+burn") {
            None => (rest, 0),
            Some((rest, ns)) => {
                let ns = ns
                    .parse()
                    .map_err(|_| format!("{ns:?} in {text:?} is no number of nanoseconds"))?;
                (rest, ns)
            }
        };
        let (rest, stack) = match rest.split_once('+') {
            None => (rest, None),
            Some((rest, stack)) => (rest, Some(stack.parse()?)),
        };
        let (name, has_mimalloc) = match rest.strip_suffix("@mimalloc") {
            None => (rest, false),
            Some(name) => (name, true),
        };
        Ok(Subject {
            label: text.into(),
            backend: name.parse()?,
            has_mimalloc,
            stack,
            burn_ns,
            slow_percent,
            threads: 1,
        })
    }
}

impl From<Backend> for Subject {
    fn from(backend: Backend) -> Self {
        Subject {
            label: backend.name().into(),
            backend,
            has_mimalloc: false,
            stack: None,
            burn_ns: 0,
            slow_percent: None,
            threads: 1,
        }
    }
}

impl Subject {
    /// What it is, with its settings.
    pub fn about(&self) -> String {
        let mut about = self.backend.about().to_owned();
        about.push_str(if self.has_mimalloc {
            "; mimalloc"
        } else {
            "; the system's allocator"
        });
        if let Some(stack) = self.stack {
            about += &format!("; layers: {stack}");
        }
        if self.threads > 1 {
            about += &format!("; {} threads", self.threads);
        }
        if self.burn_ns > 0 {
            about += &format!("; {} ns wasted per request", self.burn_ns);
        }
        if let Some(percent) = self.slow_percent {
            about += &format!("; {percent} % of its CPU wasted besides");
        }
        about
    }

    /// How to start it with our application.
    ///
    /// # Errors
    /// When its program is missing; says how to get it.
    pub fn launch(&self, count_alloc: bool) -> Result<Launch, Failure> {
        match self.backend.home() {
            Home::Here if self.threads == 1 || self.backend.has_threads() => self.here(count_alloc),
            _ if self.threads > 1 => Err(format!(
                "{} runs on one thread only; leave it out, or --cores",
                self.backend
            )
            .into()),
            Home::Here => self.here(count_alloc),
            Home::Peer(name) => self.peer(name, count_alloc),
            Home::Machine(name) => nginx(name),
        }
    }

    /// The program of this package that has one route and is as large as a user's would be; `None` if there is none.
    /// The one that is measured holds all backends.
    pub fn minimal_name(&self) -> Option<&'static str> {
        match self.backend {
            _ if self.has_mimalloc || self.stack.is_some() => None,
            backend if backend.is_zero() => Some("minimal-zero"),
            Backend::Hyper | Backend::HyperDefault => Some("minimal-hyper"),
            _ => None,
        }
    }

    /// The program whose size is told, if one's is: that, or a peer's as it is measured. The error says what is not
    /// built, and how to get it.
    pub fn sized_program(&self) -> Option<Result<PathBuf, Failure>> {
        match self.minimal_name() {
            Some(name) => Some(sibling(name)),
            None if self.backend.home() == Home::Here => None,
            None => Some(self.launch(false).map(|launch| launch.program)),
        }
    }

    fn here(&self, count_alloc: bool) -> Result<Launch, Failure> {
        let mut launch = Launch::server(self.backend)?;
        if self.has_mimalloc {
            launch.program = sibling("server-mimalloc")
                .map_err(|error| format!("{error} --features mimalloc"))?;
        }
        launch.args.extend(self.arguments(count_alloc));
        Ok(launch)
    }

    /// Arguments besides the backend's name.
    pub(crate) fn arguments(&self, count_alloc: bool) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(stack) = self.stack {
            arguments.extend(["--stack".into(), stack.to_string()]);
        }
        if self.burn_ns > 0 {
            arguments.extend(["--burn-ns".into(), self.burn_ns.to_string()]);
        }
        if self.threads > 1 {
            arguments.extend(["--threads".into(), self.threads.to_string()]);
        }
        if count_alloc {
            arguments.push("--count-alloc".into());
        }
        arguments
    }

    fn peer(&self, name: &str, count_alloc: bool) -> Result<Launch, Failure> {
        if self.has_mimalloc
            || self.stack.is_some()
            || self.burn_ns > 0
            || self.slow_percent.is_some()
        {
            return Err(format!(
                "{} runs as it is: without @mimalloc, layers, +burn and +slow",
                self.backend
            )
            .into());
        }
        let here = std::env::current_exe()?;
        // target/release/compare, beside benches/peers/target/release/NAME.
        let root = here
            .ancestors()
            .find(|folder| folder.join("benches/peers").is_dir());
        let program = root.map(|root| root.join("benches/peers/target/release").join(name));
        let program = match program {
            Some(program) if program.exists() => program,
            _ => {
                return Err(format!(
                    "{name} is not built; run: cargo build --release --manifest-path benches/peers/Cargo.toml"
                )
                .into());
            }
        };
        Ok(Launch {
            program,
            args: [
                vec!["--end-with-parent".into()],
                self.arguments(count_alloc),
            ]
            .concat(),
            env: Vec::new(),
            silent_at: None,
        })
    }
}

/// Numbers subjects whose labels are equal, as those of an A/A run are.
pub fn tell_apart(subjects: &mut [Subject]) {
    let labels: Vec<_> = subjects.iter().map(|s| s.label.clone()).collect();
    for (i, subject) in subjects.iter_mut().enumerate() {
        if labels
            .iter()
            .filter(|label| **label == subject.label)
            .count()
            > 1
        {
            let nth = labels[..=i]
                .iter()
                .filter(|label| **label == labels[i])
                .count();
            subject.label = format!("{} ({nth})", labels[i]);
        }
    }
}

/// nginx with one worker in one process, which answers plaintext from its configuration.
fn nginx(name: &str) -> Result<Launch, Failure> {
    let program = find_program(name)
        .ok_or("nginx is not installed; run: apt-get install nginx-light (and stop its service)")?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let folder = std::env::temp_dir().join(format!("zero-bench-nginx-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let configuration = folder.join(format!("{port}.conf"));
    let folder = folder.display();
    std::fs::write(
        &configuration,
        format!(
            "daemon off; master_process off; worker_processes 1; pid {folder}/{port}.pid;\n\
             error_log /dev/null crit;\n\
             events {{ worker_connections 16384; multi_accept on; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;\n\
             client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n\
             uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
             server {{ listen 127.0.0.1:{port};\n\
             location = /plaintext {{ default_type 'text/plain; charset=utf-8'; return 200 'Hello, World!'; }}\n\
             }} }}\n"
        ),
    )?;
    Ok(Launch {
        program,
        args: vec!["-c".into(), configuration.display().to_string()],
        env: Vec::new(),
        silent_at: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    })
}

/// Finds a program by its name, also where only root's programs are.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|path: &PathBuf| Path::is_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_backend_and_what_is_done_to_it() {
        let subject: Subject = "hyper@mimalloc+burn300".parse().expect("valid");
        assert_eq!(subject.backend, Backend::Hyper);
        assert!(subject.has_mimalloc);
        assert_eq!((subject.stack, subject.burn_ns), (None, 300));
        let layered: Subject = "zero+native:cors+burn5".parse().expect("valid");
        assert_eq!(layered.stack.expect("layers").to_string(), "native:cors");
        assert_eq!(layered.burn_ns, 5);
        let slowed: Subject = "hyper+slow5".parse().expect("valid");
        assert_eq!((slowed.slow_percent, slowed.burn_ns), (Some(5.0), 0));
        for wrong in [
            "hyper+burnlots",
            "hyper+slow",
            "hyper+slow0",
            "hyper+slow-5",
        ] {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
        assert!("hiper".parse::<Subject>().is_err());
    }

    #[test]
    fn equal_subjects_are_numbered_and_others_not() {
        let mut subjects = [Backend::Hyper, Backend::Zero, Backend::Hyper].map(Subject::from);
        tell_apart(&mut subjects);
        assert_eq!(
            subjects.map(|s| s.label),
            ["hyper (1)", "zero", "hyper (2)"]
        );
    }
}
