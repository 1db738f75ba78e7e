//! What a request allocates, counted on its thread: as much for a list of megabytes as for one of a kilobyte. And that the key of a
//! token is hashed once.
//!
//! The handler is asked in this process, through a connection in memory; what is counted is from the head of the request to the last
//! byte of the body.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use allocation_counter::AllocationInfo;
use cratos::config;
use cratos::demand::{Demand, knock::Door};
use cratos::refresh::{How, Publisher};
use cratos::secret::Secret;
use cratos::snapshot::manifest;
use cratos::token::TokenKeys;
use cratos::view::ViewId;
use cratos::view::keyring::{Keyring, Opening};
use cratos::web::client_ip::Client;
use cratos::web::files::Front;
use cratos::web::{guard, handler, views};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dir::{Dir, SITE, token};
use crate::limits::{LARGE, SMALL, folder, good_token};

/// A connection that brings one request and takes whatever comes.
struct Memory(io::Cursor<Vec<u8>>);

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.0.position() == self.0.get_ref().len() as u64 {
            // Nothing more comes, and the client has not gone either.
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What serves the folder, and the head of a request with a good token.
struct Asked {
    front: Arc<Front>,
    token: String,
    keyring: Arc<Keyring>,
}

/// Publishes what is in the folder, and serves it.
async fn asked(dir: &Dir) -> Asked {
    let config = config::load(dir.path()).unwrap();
    let publisher = Publisher::open(&config, config.good_sites().next().unwrap()).unwrap();
    let (how, now) = (How { full: true, release: false }, Timestamp::now());
    publisher.refresh(how, now, Arc::new(|_, _| {})).await.unwrap();
    let keys = TokenKeys::derive(&config.encryption_key, &config.salt);
    let ((demand, _), (door, _)) = (Demand::new(), Door::new());
    let keyring = Arc::new(Keyring::new().unwrap());
    let front = Front::new(config.web.clone(), keys, Arc::default(), Arc::new(demand), (Arc::clone(&keyring), door));
    front.publish(publisher.view(), manifest::open_current(publisher.view_dir()).unwrap().unwrap());
    front.succeeded(publisher.view(), now.as_second());
    Asked { front: Arc::new(front), token: good_token(), keyring }
}

/// Status, tag and size of an answer, and what it allocated once everything is in memory.
async fn ask(asked: &Asked, target: &str, headers: &str) -> (u16, String, usize, AllocationInfo) {
    // The first one opens the token and reads the body from its file, on another thread.
    let mut last = None;
    for _ in 0..3 {
        last = answered(asked, target, headers).await;
    }
    last.expect("an answer that waits for nothing")
}

async fn answered(
    Asked { front, token, .. }: &Asked,
    target: &str,
    headers: &str,
) -> Option<(u16, String, usize, AllocationInfo)> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\ntoken: {token}\r\n{headers}\r\n");
    let found = Rc::new(RefCell::new(None));
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (front, found) = (Arc::clone(front), Rc::clone(&found));
        async move {
            let (head, body) = request.into_parts();
            let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
            let answering = handler::answer(&front, &head, body, peer, Timestamp::now());
            let (mut now, mut size) = (None, 0);
            let mut answering = Box::pin(answering);
            let allocated = allocation_counter::measure(|| {
                now = (&mut answering).now_or_never();
                while let Some(Some(Ok(frame))) =
                    now.as_mut().and_then(|answer| answer.body_mut().frame().now_or_never())
                {
                    size += frame.into_data().map_or(0, |data| data.len());
                }
            });
            if now.is_none() {
                answering.await.into_body().collect().await.unwrap();
            }
            *found.borrow_mut() = now.map(|answer| {
                let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
                (answer.status().as_u16(), tag.unwrap_or_default(), size, allocated)
            });
            Ok::<_, Infallible>(http::Response::new(String::new()))
        }
    });
    http1::Builder::new()
        .serve_connection(TokioIo::new(Memory(io::Cursor::new(request.into()))), service)
        .await
        .unwrap();
    found.take()
}

/// As much for the one as for the other, and little; the names in their URLs are not of one length.
fn assert_alike(small: &AllocationInfo, large: &AllocationInfo, most: u64, what: &str) {
    assert_eq!(small.count_total, large.count_total, "{what}");
    assert!(small.bytes_total.abs_diff(large.bytes_total) <= 8, "{what}: {small:?} and {large:?}");
    assert!(large.count_total <= most && large.bytes_total < 4096, "{what}: {large:?}");
}

#[test]
fn an_answer_allocates_as_much_whatever_its_size() {
    let dir = folder("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let asked = asked(&dir).await;
        for gzip in ["", "Accept-Encoding: gzip\r\n"] {
            let (status, small_tag, small_size, small) = ask(&asked, SMALL, gzip).await;
            let (other, large_tag, large_size, large) = ask(&asked, LARGE, gzip).await;
            assert_eq!((status, other), (200, 200));
            assert!(small_size > 0 && large_size > small_size * 10, "{small_size} and {large_size}");
            assert_alike(&small, &large, 12, "200");

            let known = |tag: &str| format!("{gzip}If-None-Match: {tag}\r\n");
            let (status, _, _, small) = ask(&asked, SMALL, &known(&small_tag)).await;
            let (other, _, _, large) = ask(&asked, LARGE, &known(&large_tag)).await;
            assert_eq!((status, other), (304, 304));
            assert_alike(&small, &large, 8, "304");
        }
    });
}

#[test]
fn the_key_of_a_token_is_hashed_once() {
    let dir = folder("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Asked { front, keyring, .. } = runtime.block_on(asked(&dir));
    let settings = front.settings();
    let (client, now) = (Client::Known(IpAddr::V4(Ipv4Addr::LOCALHOST)), Timestamp::now());
    let keys = ["a", "b"].map(|letter| letter.repeat(40));
    let [one, other] = keys.each_ref().map(|key| Secret::new(key.clone()));
    for (user, key) in [("7", &one), ("8", &other)] {
        keyring.open(SITE, key, &Arc::new(Opening::new(ViewId::user(SITE, user, 0).unwrap(), 0)));
    }
    let request = |key: &str| {
        let token = token(SITE, key, "2099-12-31");
        http::Request::get(SMALL).header("token", token).body(()).unwrap().into_parts().0
    };
    let known = |head: &http::request::Parts| {
        let grant = guard::admit(front.tokens(), &settings, head, &client, now).unwrap();
        let before = grant.token.place.get().copied();
        (before, views::known(&front, &grant, now).map(|view| view.name().to_owned()))
    };
    let head = request(&keys[0]);
    assert_eq!(known(&head), (None, Some("user-7".into())));
    assert_eq!(known(&head), (Some(keyring.digest(SITE, &one)), Some("user-7".into())));
    // Where it was found counts, whatever the key is: nothing is hashed again.
    let head = request(&keys[0]);
    let opened = front.tokens().open(head.headers["token"].to_str().unwrap()).unwrap();
    opened.place.set(keyring.digest(SITE, &other)).unwrap();
    assert_eq!(known(&head).1.as_deref(), Some("user-8"));
}
