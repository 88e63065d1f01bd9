//! How often one sender may come, so that a runaway one does not crowd out the others.
//!
//! This bounds what comes in; it has nothing to do with the safety budgets of actions, which are state.
//! Over the limit is answered 503, never 429: Alertmanager retries only 5xx.

use crate::http::identity::Peer;
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// Requests per second of one sender. It stops a sender that has gone wild, before its secret is checked; it is no rate
/// plan. So it lies above what one daemon makes durable: many Alertmanagers may come through one proxy's address, and in
/// a storm they should be held up by nothing but the journal.
pub const SENDER_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(49_999);
/// What it may send at once after a pause.
pub const SENDER_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(49_999);
/// Senders told apart. Each takes about 100 bytes; with more of them about, newcomers share a few limits.
pub const MAX_SENDERS: usize = 10_000;
/// Checks between two looks at the number of senders: bounds how far it may overshoot.
const TIDY_EVERY: u32 = 1024;

/// One sender's key. Certificates before addresses: behind one proxy many senders share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// Of the certificate's name.
    Certificate([u8; 16]),
    /// IPv6 cut to /64: a host owns at least that.
    Address(IpAddr),
    /// One of 256 shared by everyone once there are too many to tell apart.
    Crowd(u8),
}

/// The limiter of one listener.
#[derive(Debug)]
pub struct SenderLimiter {
    limiter: DefaultKeyedRateLimiter<Key>,
    max_senders: usize,
    checks: AtomicU32,
    crowded: AtomicBool,
}

/// The sender is over its limit: answer 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests from this sender; try again in {} ms", wait.as_millis())]
pub struct TooOften {
    pub wait: Duration,
}

impl IntoResponse for TooOften {
    fn into_response(self) -> Response {
        let wait = self.wait.as_secs().saturating_add(1).to_string();
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, wait)], format!("{self}\n")).into_response()
    }
}

impl SenderLimiter {
    /// A limiter that lets each of at most `max_senders` send `per_second`, and `burst` at once.
    #[must_use]
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32, max_senders: usize) -> SenderLimiter {
        SenderLimiter {
            limiter: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
            max_senders,
            checks: AtomicU32::new(0),
            crowded: AtomicBool::new(false),
        }
    }

    /// Counts one request of `peer`. Before authentication: checking a secret costs more than this.
    pub fn check(&self, peer: &Peer) -> Result<(), TooOften> {
        if self.checks.fetch_add(1, Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.tidy();
        }
        let mut key = key_of(peer);
        if self.crowded.load(Relaxed) {
            key = share_of(key);
        }
        self.limiter.check_key(&key).map_err(|until| {
            let now = governor::clock::Clock::now(self.limiter.clock());
            TooOften { wait: until.wait_time_from(now) }
        })
    }

    /// Forgets senders whose limit is whole again. Called now and then by [`Self::check`]; an idle server needs none.
    pub fn tidy(&self) {
        if self.limiter.len() > self.max_senders {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.crowded.store(self.limiter.len() > self.max_senders, Relaxed);
    }

    /// Senders known now.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.limiter.len()
    }
}

impl Default for SenderLimiter {
    fn default() -> SenderLimiter {
        SenderLimiter::new(SENDER_PER_SECOND, SENDER_BURST, MAX_SENDERS)
    }
}

fn key_of(peer: &Peer) -> Key {
    if let Some(name) = peer.certificate.as_ref().and_then(|certificate| certificate.name()) {
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let mut short = [0; 16];
        short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        return Key::Certificate(short);
    }
    Key::Address(match peer.address.ip().to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    })
}

fn share_of(key: Key) -> Key {
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    Key::Crowd(match key {
        Key::Certificate(digest) => sum(&digest),
        Key::Address(IpAddr::V4(address)) => sum(&address.octets()),
        Key::Address(IpAddr::V6(address)) => sum(&address.octets()),
        Key::Crowd(share) => share,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::identity::PeerIdentity;
    use std::{net::SocketAddr, sync::Arc};

    fn peer(address: &str) -> Peer {
        Peer { address: SocketAddr::new(address.parse().unwrap(), 1), certificate: None }
    }

    fn limiter(burst: u32, max_senders: usize) -> SenderLimiter {
        SenderLimiter::new(NonZeroU32::MIN, NonZeroU32::new(burst).unwrap(), max_senders)
    }

    #[test]
    fn a_runaway_sender_is_held_back_and_the_others_are_not() {
        let limiter = limiter(5, 100);
        for _ in 0..5 {
            limiter.check(&peer("192.0.2.1")).unwrap();
        }
        let refused = limiter.check(&peer("192.0.2.1")).unwrap_err();
        assert!(refused.wait > Duration::ZERO && refused.wait <= Duration::from_secs(1));
        limiter.check(&peer("192.0.2.2")).unwrap();
    }

    #[test]
    fn a_certificate_counts_instead_of_the_address() {
        let limiter = limiter(1, 100);
        let named = |name: &str| {
            let identity = PeerIdentity { common_names: vec![name.to_owned()], ..PeerIdentity::default() };
            Peer { certificate: Some(Arc::new(identity)), ..peer("192.0.2.1") }
        };
        limiter.check(&named("a")).unwrap();
        limiter.check(&named("b")).unwrap();
        limiter.check(&named("a")).unwrap_err();
    }

    #[test]
    fn one_host_has_one_limit_whatever_address_of_its_network_it_uses() {
        let limiter = limiter(1, 100);
        limiter.check(&peer("2001:db8::1")).unwrap();
        limiter.check(&peer("2001:db8::2")).unwrap_err();
        limiter.check(&peer("2001:db8:0:1::1")).unwrap();
        limiter.check(&peer("::ffff:192.0.2.7")).unwrap();
        limiter.check(&peer("192.0.2.7")).unwrap_err();
    }

    #[test]
    fn the_senders_remembered_are_bounded() {
        let limiter = limiter(1, 100);
        for n in 0..20_000_u32 {
            let _ = limiter.check(&Peer { address: SocketAddr::new(IpAddr::V4(n.into()), 1), certificate: None });
        }
        let most = 100 + TIDY_EVERY as usize + 256;
        assert!(limiter.senders() <= most, "{} senders", limiter.senders());
    }
}
