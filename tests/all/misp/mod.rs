//! The scripted MISP: a double of a MISP 2.5.1 REST server for tests, on 127.0.0.1.
//!
//! It answers from a [`World`] that a test builds and changes directly, with the traps of a real server: a filter nobody
//! reads is no filter, JSON `false` means "don't care", warninglists work after the page was cut, `X-Result-Count` counts
//! one page, some changes move no clock. `samples` compares it with recorded answers of a real MISP.
//!
//! | about | files |
//! |---|---|
//! | what there is | `world`, `identity`, `warninglists` |
//! | what happens to it | `actions`, `tagging`; `load` reads a recorded data set |
//! | who sees what | `truth` |
//! | a search | `parameters`, `loose`, `filters`, `search`, `rows` |
//! | other pages, refusals | `pages`, `route` |
//! | HTTP | `wire`, `server`, `fault`; `client` asks; `script` answers instead of a world |
//! | recorded answers | `mirror` makes a world from one, `shape` compares, `clocks` replays actions |
#![allow(dead_code, unused_imports, reason = "a harness offers more than the tests of the day use")]

use std::net::TcpListener;
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};

use serde_json::Value;

mod actions;
pub mod client;
pub mod clocks;
mod fault;
mod filters;
mod identity;
mod load;
mod loose;
pub mod mirror;
mod pages;
mod parameters;
mod route;
mod rows;
mod script;
mod search;
mod server;
pub mod shape;
mod tagging;
#[cfg(test)]
mod tests;
mod truth;
mod warninglists;
mod wire;
mod world;

pub use actions::{NewAttribute, NewEvent};
pub use fault::{Fault, Kind};
pub use identity::{ADMIN, ADMIN_KEY, Key, Organisation, READER, READER_KEY, Role, User};
pub use route::{Answer, JSON, Refusal};
pub use script::Script;
pub use tagging::Via;
pub use truth::{Indexed, Row, Sight};
pub use warninglists::{Hit, Warninglist};
pub use wire::Asked;
pub use world::{Allowed, Attached, Attribute, Event, Object, Order, ResultCount, Settings, Sighting, Tag, World};

use server::{Hook, Shared, lock};

/// A running server; it stops when dropped.
pub struct Misp {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

/// One request, as it was seen and answered.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// The name of the key, `unknown` or `none`.
    pub key: String,
    /// Without those that carry secrets; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Null if it was no JSON.
    pub body: Value,
    /// 0 if there was no answer.
    pub status: u16,
    /// Rows on the page.
    pub rows: usize,
    pub result_count: Option<i64>,
    pub fault: Option<Kind>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Misp {
    /// With an empty world.
    pub fn start() -> Self {
        Self::serve(None)
    }

    /// With somebody who answers instead of a world; the clock is this machine's at the start.
    pub fn scripted(script: impl Script + 'static) -> Self {
        let misp = Self::serve(Some(Box::new(script)));
        misp.world().now = jiff::Timestamp::now().as_second();
        misp
    }

    fn serve(script: Option<Box<dyn Script>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::new(script));
        let serving = Arc::clone(&shared);
        let acceptor = Some(thread::spawn(move || serving.serve(&listener)));
        Self { shared, port, acceptor }
    }

    /// With this world.
    pub fn of(world: World) -> Self {
        let misp = Self::start();
        *misp.world() = world;
        misp
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The world, to read and to change. Requests wait while it is held.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// What was asked since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.shared.log))
    }

    /// Orders a fault; several wait side by side.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Takes back every fault.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Changes the world right after the `at`-th request (from 1) with this text in its path was answered.
    pub fn after_answer(&self, path: &str, at: usize, mut run: impl FnMut(&mut World) + Send + 'static) {
        let run = Box::new(move |world: &mut World, _| run(world));
        lock(&self.shared.hooks).push(Hook { path: path.into(), at: Some(at), seen: 0, run });
    }

    /// The same after every such request; `run` is told which one it was.
    pub fn after_every_answer(&self, path: &str, run: impl FnMut(&mut World, usize) + Send + 'static) {
        lock(&self.shared.hooks).push(Hook { path: path.into(), at: None, seen: 0, run: Box::new(run) });
    }

    /// Takes back every change that still waits.
    pub fn clear_hooks(&self) {
        lock(&self.shared.hooks).clear();
    }
}

impl Drop for Misp {
    fn drop(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            self.shared.stop(self.port, acceptor);
        }
    }
}
