//! The program under measure: `cratos serve` in a folder of its own, and what the kernel says of it.
//!
//! In: a folder and the port of a MISP. Out: a running program, told to refresh; seconds of CPU, MB of memory, bytes and files
//! written.
//!
//! Invariant: the program ends with the value that stands for it.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The key of the site; the MISP takes any.
pub const KEY: &str = "BenchBenchBenchBenchBenchBenchBenchBench";

/// The site.
pub const SITE: &str = "misp.example.net";

/// What one refresh took.
pub struct Run {
    pub wall: f64,
    pub cpu: f64,
    pub peak: f64,
    pub written: f64,
    pub files: usize,
}

/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(20);

/// `cratos serve`; told to end when dropped, and killed if it does not.
pub struct Cratos(std::process::Child);

impl Cratos {
    pub fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratos"));
        command.env_clear().env("CRATOS_LOG", "error").arg("-C").arg(folder).arg("serve");
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        // The first refresh begins by itself; it must not be measured twice.
        while !folder.join("state/lock").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    /// Tells it to refresh, and waits.
    pub fn refresh(&self, folder: &Path, full: bool) -> Run {
        let (id, begun) = (self.0.id(), Instant::now());
        let (cpu_before, written_before, known) = (cpu(id).unwrap(), written(id), files(folder));
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratos"));
        command.env_clear().arg("-C").arg(folder).arg("refresh").args(full.then_some("--full"));
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(), "the refresh failed");
        Run {
            wall: begun.elapsed().as_secs_f64(),
            cpu: cpu(id).unwrap() - cpu_before,
            peak: memory(id).unwrap(),
            written: written(id) - written_before,
            files: files(folder).difference(&known).count(),
        }
    }
}

impl Drop for Cratos {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        let told = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let begun = Instant::now();
        while told == Some(Ok(())) && begun.elapsed() < GRACE && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Err: it ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes given to the kernel to be written.
fn written(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = text.lines().find(|line| line.starts_with("wchar:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Files of lists, each once, however many versions have it.
fn files(folder: &Path) -> BTreeSet<u64> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.join("feeds-out")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => drop(found.insert(meta.ino())),
                Err(_) => {}
            }
        }
    }
    found
}

/// Writes the configuration: the port of the MISP, when to refresh, and further lines of the site file. Out: the port to listen
/// on, where nobody does.
pub fn configure(folder: &Path, misp: u16, refresh: &str, more: &str) -> u16 {
    fs::create_dir_all(folder.join("config")).unwrap();
    fs::create_dir_all(folder.join("sites")).unwrap();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("encryption_key: bench-encryption-key\nsalt: bench-salt\nlisten: {listen}\n");
    fs::write(folder.join("config/config.yaml"), config).unwrap();
    let site = format!(
        "enabled: true\ntag: example\ncustom_feeds: {{}}\nallowed_ips: [127.0.0.1]\nmispUrl: http://127.0.0.1:{misp}\n\
         mispAuthKey: {KEY}\nrefresh_time_limit: 1h\nrefresh: {refresh}\nfull_refresh: 31d\nguard: off\n{more}"
    );
    fs::write(folder.join("sites").join(format!("{SITE}.yaml")), site).unwrap();
    listen.port()
}

/// Peak resident memory in MB.
fn memory(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}

/// User and system time in seconds; the kernel counts hundredths.
fn cpu(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}
