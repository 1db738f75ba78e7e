//! `examples/supervisor.conf`: supervisord starts the program, passes signals on, starts it again after a crash, and ends it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cmd::wait_for;
use crate::dir::Dir;
use crate::http;
use crate::nginx::{adapted, is_there};

const EXAMPLE: &str = include_str!("../../examples/supervisor.conf");

/// supervisord; told to end when dropped, and then everything it started has ended, too.
struct Supervisor(Child);

impl Drop for Supervisor {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        // Err: it ended already.
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The process that works in the folder.
fn worker(dir: &Dir) -> Option<Pid> {
    let pid = fs::read_to_string(dir.path().join("state/lock")).ok()?;
    Pid::from_raw(pid.trim().parse().ok()?)
}

fn control(config: &Path, words: &[&str]) {
    let output = Command::new("supervisorctl").arg("-c").arg(config).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_program_is_started_told_restarted_and_ended() {
    if !is_there("supervisord") {
        return;
    }
    let dir = Dir::new("");
    let shown = dir.path().display();
    let command = format!("{} -C {shown} serve", env!("CARGO_BIN_EXE_cratos"));
    let program = adapted(
        EXAMPLE,
        &[
            ("/usr/bin/cratos -C /var/lib/cratos serve", &command),
            // Only root may become somebody else.
            ("user=cratos\n", ""),
            ("/var/log/cratos/cratos.log", &format!("{shown}/cratos.log")),
        ],
    );
    dir.write(
        "supervisord.conf",
        &format!(
            "[supervisord]\nnodaemon=true\nlogfile={shown}/supervisord.log\npidfile={shown}/supervisord.pid\n\
             childlogdir={shown}\n[unix_http_server]\nfile={shown}/supervisor.sock\n[supervisorctl]\n\
             serverurl=unix://{shown}/supervisor.sock\n[rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n{program}"
        ),
    );
    let config = dir.path().join("supervisord.conf");
    let start = Command::new("supervisord").arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let supervisor = Supervisor(start.unwrap());
    let limit = Duration::from_secs(20);
    wait_for("an answer", limit, || http::answers(dir.port));
    let first = worker(&dir).unwrap();

    wait_for("the running state", limit, || {
        let log = fs::read_to_string(dir.path().join("supervisord.log")).unwrap_or_default();
        log.contains("cratos entered RUNNING state")
    });
    control(&config, &["signal", "HUP", "cratos"]);
    wait_for("a reload", limit, || {
        fs::read_to_string(dir.path().join("cratos.log")).unwrap_or_default().contains("configuration taken over")
    });
    assert_eq!(worker(&dir), Some(first), "a reload is no restart");

    kill_process(first, Signal::KILL).unwrap();
    wait_for("a second start", limit, || worker(&dir) != Some(first) && http::answers(dir.port));
    drop(supervisor);
    assert!(!http::answers(dir.port), "it outlives supervisord");
}
