//! Examples as processes, at ports that are free.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with its test.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
    /// Where it listens too, if it is one that does.
    pub socket: PathBuf,
}

impl Server {
    /// Starts an example at a port that was free a moment ago; where it is not any more, at another. Returns as soon
    /// as `asked` is answered, with the answer.
    pub fn start<A>(
        program: &str,
        mut asked: impl FnMut(&Server) -> std::io::Result<A>,
    ) -> (Self, A) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut server = Server::spawn(program);
            while server.child.try_wait().unwrap().is_none() {
                if let Ok(answer) = asked(&server) {
                    return (server, answer);
                }
                assert!(Instant::now() < give_up, "{program} does not answer");
                thread::sleep(Duration::from_millis(10));
            }
            assert!(Instant::now() < give_up, "{program} does not start");
        }
    }

    fn spawn(program: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let addr = free.unwrap();
        let port = addr.port().to_string();
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let socket = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{port}"));
        let _ = fs::remove_file(&socket);
        let child = Command::new(program)
            .arg(&port)
            .arg(&socket)
            .env("PORT", &port)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Server {
            child,
            addr,
            socket,
        }
    }

    pub fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}
