//! Wrong keys, counted by the address they came from.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

/// Wrong keys of one address that are looked at in one window.
const ALLOWED: u32 = 20;
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses that are remembered; the one that was quiet for the longest time is forgotten first.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4_095);

/// Since when it is counted, and how many there were.
type Window = (Instant, u32);

/// What is remembered of addresses that sent wrong keys.
pub struct Attempts {
    windows: Mutex<LruCache<IpAddr, Window>>,
}

impl Attempts {
    pub fn new() -> Self {
        Self {
            windows: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// Counts one more. Once there are too many: the seconds until it is counted anew.
    pub fn count(&self, address: IpAddr) -> Option<u32> {
        self.count_at(address, Instant::now())
    }

    fn count_at(&self, address: IpAddr, now: Instant) -> Option<u32> {
        let mut windows = self.windows.lock();
        let window = windows.get_or_insert_mut(network(address), || (now, 0));
        if now.duration_since(window.0) >= WINDOW {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(window.0));
        (window.1 > ALLOWED).then(|| left.as_secs() as u32 + 1)
    }
}

/// What one client has: of IPv6 addresses a whole network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_twenty_first_within_a_minute_is_one_too_many() {
        let (attempts, start) = (Attempts::new(), Instant::now());
        for _ in 0..20 {
            assert_eq!(attempts.count_at(ip("192.0.2.1"), start), None);
        }
        let later = start + Duration::from_secs(20);
        assert_eq!(attempts.count_at(ip("192.0.2.1"), later), Some(41));
        assert_eq!(attempts.count_at(ip("::ffff:192.0.2.1"), later), Some(41));
        assert_eq!(attempts.count_at(ip("192.0.2.2"), later), None);
        assert_eq!(attempts.count_at(ip("192.0.2.1"), start + WINDOW), None);
    }

    #[test]
    fn a_client_does_not_get_more_by_having_many_addresses() {
        let (attempts, start) = (Attempts::new(), Instant::now());
        for host in 0..20 {
            let address = ip(&format!("2001:db8::{host:x}"));
            assert_eq!(attempts.count_at(address, start), None);
        }
        assert!(attempts.count_at(ip("2001:db8::ffff:1"), start).is_some());
        assert_eq!(attempts.count_at(ip("2001:db8:0:1::1"), start), None);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let (attempts, start) = (Attempts::new(), Instant::now());
        for host in 0..10_000_u32 {
            attempts.count_at(IpAddr::V4(host.into()), start);
        }
        assert_eq!(attempts.windows.lock().len(), KEPT.get());
    }
}
