//! The server: one thread for each connection, all of them on one world.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Request;
use super::fault::{self, Fault, Kind};
use super::route::{self, Answer};
use super::script::Script;
use super::wire::{Asked, Outgoing};
use super::world::World;

/// What all connections share.
pub struct Shared {
    pub world: Mutex<World>,
    pub faults: Mutex<Vec<Fault>>,
    pub log: Mutex<Vec<Request>>,
    pub hooks: Mutex<Vec<Hook>>,
    /// Answers instead of the world.
    pub script: Option<Box<dyn Script>>,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
    stopped: Mutex<bool>,
    stopping: Condvar,
    serial: AtomicU64,
}

/// What is done to the world; told which of its requests came before.
type Change = Box<dyn FnMut(&mut World, usize) + Send>;

/// Something to be done to the world between two requests.
pub struct Hook {
    /// Part of the path.
    pub path: String,
    /// After this request only; none: after every one.
    pub at: Option<usize>,
    pub seen: usize,
    pub run: Change,
}

/// What becomes of a connection after an answer.
enum Then {
    GoesOn,
    Ends,
    Resets,
}

/// A connection. Its end is told to the client even when the thread panics: the acceptor's copy keeps it open otherwise.
struct Line {
    stream: BufReader<TcpStream>,
    resets: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.resets {
            drop(self.stream.get_ref().shutdown(Shutdown::Both));
        }
    }
}

/// Locks, whatever happened to a thread that had it before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// With an empty world, or with somebody who answers instead of it.
    pub fn new(script: Option<Box<dyn Script>>) -> Self {
        Self {
            world: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            hooks: Mutex::default(),
            script,
            connections: Mutex::default(),
            stopped: Mutex::new(false),
            stopping: Condvar::new(),
            serial: AtomicU64::new(0),
        }
    }

    /// Takes connections until it is stopped.
    pub fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if *lock(&self.stopped) {
                return;
            }
            let Ok((stream, other)) = stream.and_then(|stream| Ok((stream.try_clone()?, stream))) else { continue };
            // Held until the thread is listed: a reset looks for it there.
            let mut connections = lock(&self.connections);
            connections.retain(|(_, thread)| !thread.is_finished());
            let shared = Arc::clone(self);
            // Err: the client is gone, or the server stops.
            let thread = thread::spawn(move || drop(shared.connection(stream)));
            connections.push((other, thread));
        }
    }

    /// Ends every connection and waits for its thread; faults that sleep wake up.
    pub fn stop(&self, port: u16, acceptor: JoinHandle<()>) {
        *lock(&self.stopped) = true;
        self.stopping.notify_all();
        // The acceptor sleeps until somebody connects. A thread that panicked has said so itself.
        drop(TcpStream::connect(("127.0.0.1", port)));
        drop(acceptor.join());
        let connections = std::mem::take(&mut *lock(&self.connections));
        connections.iter().for_each(|(stream, _)| drop(stream.shutdown(Shutdown::Both)));
        connections.into_iter().for_each(|(_, thread)| drop(thread.join()));
    }

    fn connection(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut line = Line { stream: BufReader::with_capacity(32 * 1024, stream), resets: false };
        while let Some(asked) = Asked::read(&mut line.stream)? {
            match self.exchange(&asked, line.stream.get_mut())? {
                Then::GoesOn => {}
                Then::Ends => break,
                Then::Resets => {
                    line.resets = true;
                    self.forget(line.stream.get_ref())?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Makes this thread the only owner of the connection, and its end a reset.
    fn forget(&self, stream: &TcpStream) -> io::Result<()> {
        let client = stream.peer_addr()?;
        lock(&self.connections).retain(|(other, _)| other.peer_addr().ok() != Some(client));
        Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
    }

    /// One request and its answer.
    fn exchange(&self, asked: &Asked, stream: &mut TcpStream) -> io::Result<Then> {
        let ordered = fault::pick(&mut lock(&self.faults), asked.path());
        let fault = ordered.or_else(|| self.script.as_ref()?.fault(asked));
        if let Some(Kind::Hang(silence)) = &fault
            && !self.pause(*silence)
        {
            return Ok(Then::Ends);
        }
        if let Some(kind @ (Kind::Drop | Kind::Reset)) = &fault {
            self.note(asked, None, fault.as_ref());
            return Ok(if matches!(kind, Kind::Reset) { Then::Resets } else { Then::Ends });
        }
        let (mut answer, now, gzip) = self.answer(asked, fault.as_ref());
        if let Some(fault) = &fault {
            fault.alter(&mut answer);
        }
        self.note(asked, Some(&answer), fault.as_ref());
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let outgoing = Outgoing::new(asked, answer, now, gzip, serial, fault.as_ref());
        self.send(outgoing, stream, fault.as_ref())
    }

    /// Reads the answer from the world, then lets the hooks change it.
    fn answer(&self, asked: &Asked, fault: Option<&Kind>) -> (Answer, i64, bool) {
        let mut world = lock(&self.world);
        let (now, gzip) = (world.now, world.settings.gzip);
        if let Some(answer) = fault.and_then(|fault| fault.instead(asked)) {
            return (answer, now, gzip);
        }
        if let Some(script) = &self.script {
            return (script.answer(asked), now, gzip);
        }
        let answer = route::answer(&mut world, asked);
        let path = asked.path().to_ascii_lowercase();
        for hook in lock(&self.hooks).iter_mut().filter(|hook| path.contains(&hook.path.to_ascii_lowercase())) {
            hook.seen += 1;
            if hook.at.is_none_or(|at| at == hook.seen) {
                (hook.run)(&mut world, hook.seen);
            }
        }
        (answer, now, gzip)
    }

    fn send(&self, outgoing: Outgoing, stream: &mut TcpStream, fault: Option<&Kind>) -> io::Result<Then> {
        let Outgoing { mut head, body, closes } = outgoing;
        match fault {
            Some(Kind::Truncate(bytes)) => {
                head.extend(&body[..body.len().min(*bytes)]);
                stream.write_all(&head)?;
                return Ok(Then::Ends);
            }
            Some(Kind::Stall { bytes, pause }) => {
                let (first, rest) = body.split_at(body.len().min(*bytes));
                head.extend(first);
                stream.write_all(&head)?;
                if !self.pause(*pause) {
                    return Ok(Then::Ends);
                }
                stream.write_all(rest)?;
            }
            Some(Kind::Drip { chunk, interval }) => {
                stream.write_all(&head)?;
                for piece in body.chunks((*chunk).max(1)) {
                    stream.write_all(piece)?;
                    if !self.pause(*interval) {
                        return Ok(Then::Ends);
                    }
                }
            }
            _ => {
                head.extend(&body);
                stream.write_all(&head)?;
            }
        }
        Ok(if closes { Then::Ends } else { Then::GoesOn })
    }

    /// Sleeps; false if the server is stopped.
    fn pause(&self, length: Duration) -> bool {
        let end = Instant::now() + length;
        let mut stopped = lock(&self.stopped);
        while !*stopped {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            stopped = self.stopping.wait_timeout(stopped, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn note(&self, asked: &Asked, answer: Option<&Answer>, fault: Option<&Kind>) {
        let secret = ["authorization", "x-misp-auth", "cookie"];
        let headers = asked.headers.iter().filter(|(name, _)| !secret.contains(&name.as_str())).cloned();
        let request = Request {
            method: asked.method.clone(),
            path: asked.target.clone(),
            key: match &self.script {
                Some(script) => script.key_name(asked),
                None => route::key_name(&lock(&self.world), asked),
            },
            headers: headers.collect(),
            body: serde_json::from_slice(&asked.body).unwrap_or(Value::Null),
            status: answer.map_or(0, |answer| answer.status),
            rows: answer.map_or(0, |answer| answer.rows),
            result_count: answer.and_then(|answer| answer.result_count),
            fault: fault.cloned(),
        };
        lock(&self.log).push(request);
    }
}
