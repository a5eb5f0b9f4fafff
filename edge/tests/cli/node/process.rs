//! A node as a process, and what an operator sees of it.

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// What anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Node {
    child: Child,
    pub(super) address: SocketAddr,
    metrics: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Gone already where the test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, with folders of its own under `home`.
pub(super) fn outrigger(home: &Path) -> Command {
    let mut command = crate::binary::outrigger();
    command
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_CACHE_HOME", home.join("cache"));
    command
}

/// What a command prints; it succeeds.
#[track_caller]
pub(super) fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

impl Node {
    /// A node on ports of the system's choice, that logs as text.
    pub(super) fn start(home: &Path, more: &[&str]) -> Self {
        let mut child = outrigger(home)
            .args(["node", "-v", "-t", "1", "--listen", "127.0.0.1:0"])
            .args(["--metrics", "127.0.0.1:0"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, heard) = mpsc::channel();
        let all = said.clone();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                all.lock().unwrap().push_str(&format!("{line}\n"));
                // Nobody listens once both addresses are known.
                let _ = lines.send(line);
            }
        });
        let address = |start: &str, end: &str| loop {
            let line: String = heard.recv_timeout(PATIENCE).expect("an address");
            if let Some((_, rest)) = line.split_once(start)
                && let Some((address, _)) = rest.split_once(end)
            {
                break address.parse().unwrap_or_else(|_| panic!("{line}"));
            }
        };
        let metrics = address("http://", "/metrics");
        let address = address(" at ", ", authority");
        Self {
            child,
            address,
            metrics,
            said,
        }
    }

    /// The answer to a GET: its status and its body.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// A sample of the metrics, 0 where there is none.
    pub(super) fn sample(&self, series: &str) -> f64 {
        let (_, metrics) = self.get("/metrics");
        let line = metrics.lines().find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            (name == format!("outrigger_node_{series}")).then_some(value)
        });
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a sample is so.
    #[track_caller]
    pub(super) fn wait_for(&self, series: &str, so: impl Fn(f64) -> bool) {
        let begun = Instant::now();
        while !so(self.sample(series)) {
            assert!(begun.elapsed() < PATIENCE, "{series}: {}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn terminate(&self) {
        let id = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status();
        assert!(kill.unwrap().success());
    }

    /// How it ended.
    #[track_caller]
    pub(super) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it said on stderr so far.
    pub(super) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// A line of its status, in MiB: `VmRSS` what it holds in memory, `VmHWM`
    /// the most that it held.
    pub(super) fn memory_mib(&self, line: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = status.lines().find_map(|l| l.strip_prefix(line));
        let kib = found.unwrap().trim_matches(|c: char| !c.is_ascii_digit());
        kib.parse::<f64>().unwrap() / 1024.0
    }
}

/// Pairs the edge of `home` with a node whose state is there too.
pub(super) fn pair(home: &Path, node: &Node) {
    let address = node.address.to_string();
    let issued = printed(outrigger(home).args(["pair", "--issue", &address]));
    let token = issued.split_whitespace().last().unwrap();
    printed(outrigger(home).args(["pair", token, "--name", "cloud", "--client", "good"]));
}

/// Completes a text, on this machine or as `more` says.
pub(super) fn complete(home: &Path, more: &[&str]) -> Value {
    let arguments = ["run", "-t", "1", "--ignore-eos", "--seed", "5", "--json"];
    let mut command = outrigger(home);
    command.args(arguments).args(["-n", "60"]).args(more);
    let text = printed(command.arg("Once upon a time"));
    serde_json::from_str(&text).unwrap()
}
