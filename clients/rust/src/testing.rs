//! A real noisegate for a test.
//!
//! ```no_run
//! # async fn play() -> Result<(), Box<dyn std::error::Error>> {
//! let service = noisegate::testing::Service::start()?;
//! let client = noisegate::Client::connect(service.address(), noisegate::Options::new())?;
//! # Ok(())
//! # }
//! ```

use std::env;
use std::io::{self, BufRead, BufReader, Error, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const READY: &str = "noisegate listening on ";
const START_WITHIN: Duration = Duration::from_secs(20);

/// `noisegate serve --dev` on a free port of this machine, until it is dropped. Keys are made at the start and lost at the
/// end.
#[derive(Debug)]
pub struct Service {
    process: Child,
    address: String,
}

impl Service {
    /// Starts it: `noisegate` of the PATH (pip install noisegate-server), or what NOISEGATE_COMMAND names. Where it does
    /// not come up, the error has its log.
    pub fn start() -> io::Result<Service> {
        Service::start_with(&[])
    }

    /// Starts it with more arguments of `noisegate serve`.
    pub fn start_with(arguments: &[&str]) -> io::Result<Service> {
        let command = env::var("NOISEGATE_COMMAND").unwrap_or_else(|_| "noisegate".to_owned());
        let mut process = Command::new(&command)
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--drain", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::new(error.kind(), format!("{command}: {error} (or set NOISEGATE_COMMAND)")))?;
        let said = first_line(process.stdout.take().map(BufReader::new));
        let log = drained(process.stderr.take());
        let address = said.strip_prefix(READY).unwrap_or_default().trim().to_owned();
        let service = Service { process, address };
        if service.address.is_empty() {
            drop(service);
            let log = log.recv().unwrap_or_default();
            return Err(Error::other(format!("the service said {said:?}; its log:\n{log}")));
        }
        Ok(service)
    }

    /// HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A service of a test has nothing to save. What has ended already needs neither.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the service says first; empty where it says nothing in time.
fn first_line(stdout: Option<impl BufRead + Send + 'static>) -> String {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let Some(mut stdout) = stdout else { return };
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let _ = tell.send(line);
        // On to its end, so that the service can always write.
        let _ = io::copy(&mut stdout, &mut io::sink());
    });
    told.recv_timeout(START_WITHIN).unwrap_or_default()
}

/// Reads the log to its end, so that the service can always write it.
fn drained(stderr: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut log = String::new();
        let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut log));
        tell.send(log)
    });
    told
}
