//! How many connections each address holds. In: an address. Out: a place, or none.
//!
//! Invariants: an address has never more places than allowed, and a place is given back when it is dropped; IPv6 clients count
//! by their /64, because whoever has one address of it has all; proxies that are trusted stand for many clients and are not
//! counted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Settings;

/// Connections per address.
#[derive(Debug, Default)]
pub struct Peers {
    held: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

/// One connection; it counts until this is dropped.
#[derive(Debug)]
pub struct Place(Option<(Arc<Peers>, IpAddr)>);

impl Peers {
    /// `None`: the address holds as many connections as it may.
    pub fn admit(self: &Arc<Self>, peer: IpAddr, settings: &Settings) -> Option<Place> {
        let peer = peer.to_canonical();
        if settings.trusted_proxies.iter().any(|network| network.contains(&peer)) {
            return Some(Place(None));
        }
        let counted = counted(peer);
        let mut held = self.held();
        let count = held.entry(counted).or_default();
        if *count >= settings.max_connections_per_address {
            drop(held);
            // The first, and then every thousandth: a client that does this does it often.
            if self.refused.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000) {
                let limit = settings.max_connections_per_address;
                tracing::warn!(%peer, limit, "an address holds max_connections_per_address; more are closed");
            }
            return None;
        }
        *count += 1;
        drop(held);
        Some(Place(Some((Arc::clone(self), counted))))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((peers, counted)) = self.0.take() else { return };
        let mut held = peers.held();
        if let Some(count) = held.get_mut(&counted) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&counted);
            }
        }
    }
}

/// What counts as one address.
fn counted(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::tests::settings;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let settings = Settings {
            max_connections_per_address: 2,
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            ..settings()
        };
        let peers = Arc::new(Peers::default());
        let admit = |peer: &str| peers.admit(peer.parse().unwrap(), &settings);
        let first = [admit("192.0.2.1"), admit("::ffff:192.0.2.1")];
        assert!(first.iter().all(Option::is_some) && admit("192.0.2.1").is_none());
        assert!(admit("192.0.2.2").is_some(), "another address has its own");
        let network = [admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(admit("2001:db8:0:0:9::").is_none() && admit("2001:db8:0:1::").is_some());
        let proxied: Vec<_> = (0..100).map(|_| admit("127.0.0.1")).collect();
        assert!(proxied.iter().all(Option::is_some));
        drop((first, network, proxied));
        assert!(admit("192.0.2.1").is_some());
        assert!(peers.held().is_empty());
    }
}
