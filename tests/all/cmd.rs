//! Runs the program: clean environment, captured output, failures that can be read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::dir::{Dir, SITE, token};
use crate::http;

/// What a finished command left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// `cratos -C dir args…`, not started.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratos"));
    command.env_clear().current_dir(dir).stdin(Stdio::null()).arg("-C").arg(dir).args(args);
    command
}

/// Runs to the end.
pub fn run(dir: &Path, args: &[&str]) -> Ended {
    let output = command(dir, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs to the end, with this text on stdin.
pub fn run_with_stdin(dir: &Path, args: &[&str], input: &str) -> Ended {
    let mut command = command(dir, args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Err: it ended before it read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ended {
    /// It must have succeeded.
    pub fn good(self) -> Self {
        self.with_code(0)
    }

    /// It must have ended with this code.
    pub fn with_code(self, code: i32) -> Self {
        let Self { out, err, .. } = &self;
        assert_eq!(self.code, Some(code), "exit code\n--- stdout\n{out}\n--- stderr\n{err}");
        self
    }

    /// Everything it said.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }
}

/// `cratos serve`, answering; killed when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
    pub port: u16,
}

impl Server {
    /// Number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts it and waits until it answers.
    pub fn start(dir: &Dir) -> Self {
        Self::start_with(dir, &[])
    }

    /// The same, with these variables in its environment.
    pub fn start_with(dir: &Dir, environment: &[(&str, &str)]) -> Self {
        Self::launch(dir, environment, http::answers)
    }

    /// Starts it and waits until its port is as it should be.
    pub fn start_when(dir: &Dir, is_there: fn(u16) -> bool) -> Self {
        Self::launch(dir, &[], is_there)
    }

    fn launch(dir: &Dir, environment: &[(&str, &str)], is_there: fn(u16) -> bool) -> Self {
        let log = dir.path().join("serve.log");
        let file = File::create(&log).unwrap();
        let mut command = command(dir.path(), &["serve"]);
        let child =
            command.envs(environment.iter().copied()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut server = Self { child, log, port: dir.port };
        wait_for("an answer from serve", Duration::from_secs(20), || {
            assert_eq!(server.child.try_wait().unwrap(), None, "serve ended:\n{}", server.log());
            is_there(server.port)
        });
        server
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// Resident memory in kB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What it says of the main view of [`SITE`](crate::dir::SITE) to a token with this key.
    pub fn status(&self, key: &str) -> serde_json::Value {
        let token = token(SITE, key, "2099-12-31");
        let answer = http::Client::new(self.port).get("/v1/status", &[("token", &*token)]);
        let all: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        all["views"][&format!("{SITE}/main")].clone()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Err: it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- serve.log\n{}", self.log());
        }
    }
}

/// Polls until `is_so`, or fails.
pub fn wait_for(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "no {what} within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
