//! How much each client may ask: a bucket of requests that fills by the minute, and permits for running answers.
//!
//! Hand-written because a client's limits may change under what it has used (decision 35).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Allowance, TooMuch};

/// Clients that are remembered. Beyond them those that were quiet are forgotten first.
const MOST: usize = 20_000;

/// When it is worth asking for a permit again: nobody knows, so as after a refusal for everybody.
const PERMIT_AFTER: Duration = Duration::from_secs(3);

/// Who is counted as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Key(Arc<str>),
    Address(IpAddr),
}

impl Client {
    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(one_client(address))
    }
}

/// Of an IPv6 address the first 64 bits count: the rest is one household's to choose.
pub(super) fn one_client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Its name in the engine's queue.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[derive(Default)]
pub(super) struct Limiter(Arc<Mutex<Clients>>);

type Clients = HashMap<Client, Usage>;

/// A token bucket and a count.
struct Usage {
    /// Requests that may come now, as of `at`.
    tokens: f64,
    at: Instant,
    allowance: Allowance,
    running: u32,
}

impl Usage {
    fn new(allowance: Allowance, now: Instant) -> Self {
        Self { tokens: allowance.burst.max(1).into(), at: now, allowance, running: 0 }
    }

    fn per_second(&self) -> f64 {
        f64::from(self.allowance.requests_per_minute) / 60.0
    }

    fn fill(&mut self, allowance: Allowance, now: Instant) {
        // A key's limits may have changed meanwhile.
        self.allowance = allowance;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second();
        self.tokens = (self.tokens + earned).min(allowance.burst.max(1).into());
        self.at = now;
    }

    /// Nothing would be lost by forgetting it.
    fn is_quiet(&self, now: Instant) -> bool {
        let missing = f64::from(self.allowance.burst.max(1)) - self.tokens;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second();
        self.running == 0 && earned >= missing
    }
}

/// One of the answers that a client may have at the same time; dropping it gives it back.
pub(crate) struct Permit {
    client: Client,
    clients: Arc<Mutex<Clients>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(usage) = lock(&self.clients).get_mut(&self.client) {
            usage.running = usage.running.saturating_sub(1);
        }
    }
}

impl Limiter {
    pub(super) fn ask(&self, client: Client, allowance: &Allowance, now: Instant) -> Result<(), TooMuch> {
        if allowance.requests_per_minute == 0 {
            return Ok(());
        }
        let mut clients = lock(&self.0);
        let usage = usage(&mut clients, client, *allowance, now);
        if usage.tokens < 1.0 {
            return Err(TooMuch(Duration::from_secs_f64((1.0 - usage.tokens) / usage.per_second())));
        }
        usage.tokens -= 1.0;
        Ok(())
    }

    pub(super) fn permit(
        &self,
        client: Client,
        allowance: &Allowance,
        now: Instant,
    ) -> Result<Permit, TooMuch> {
        let mut clients = lock(&self.0);
        let usage = usage(&mut clients, client.clone(), *allowance, now);
        if allowance.running > 0 && usage.running >= allowance.running {
            return Err(TooMuch(PERMIT_AFTER));
        }
        usage.running += 1;
        Ok(Permit { client, clients: self.0.clone() })
    }
}

fn lock(clients: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    // A panic leaves nothing half done in there.
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

fn usage(clients: &mut Clients, client: Client, allowance: Allowance, now: Instant) -> &mut Usage {
    if clients.len() >= MOST && !clients.contains_key(&client) {
        clients.retain(|_, usage| !usage.is_quiet(now));
        // So many in a minute is an attack from everywhere: then counting them isn't what helps.
        if clients.len() >= MOST {
            clients.retain(|_, usage| usage.running > 0);
        }
    }
    let usage = clients.entry(client).or_insert_with(|| Usage::new(allowance, now));
    usage.fill(allowance, now);
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance { requests_per_minute: 60, burst: 3, running: 2 };

    fn client(number: u32) -> Client {
        Client::address(IpAddr::V4(number.into()))
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_request_in_the_time_it_takes_to_earn_it() {
        let limiter = Limiter::default();
        let start = Instant::now();
        let after =
            |seconds: f64| limiter.ask(client(1), &ALLOWANCE, start + Duration::from_secs_f64(seconds));
        for _ in 0..3 {
            assert_eq!(after(0.0), Ok(()));
        }
        assert_eq!(after(0.0), Err(TooMuch(Duration::from_secs(1))));
        assert_eq!(after(0.75), Err(TooMuch(Duration::from_millis(250))));
        assert_eq!(after(1.0), Ok(()));
        assert!(after(1.0).is_err());
        // Others aren't touched, and a long pause earns no more than a burst.
        assert_eq!(limiter.ask(client(2), &ALLOWANCE, start), Ok(()));
        for _ in 0..3 {
            assert_eq!(after(1000.0), Ok(()));
        }
        assert!(after(1000.0).is_err());
    }

    #[test]
    fn what_a_client_has_used_counts_on_under_other_limits() {
        let limiter = Limiter::default();
        let now = Instant::now();
        let ask = |allowance: &Allowance| limiter.ask(client(1), allowance, now);
        // Two keys of one name, each with limits of its own.
        let other = Allowance { burst: 4, ..ALLOWANCE };
        let answered = (0..20).filter(|turn| ask(if turn % 2 == 0 { &ALLOWANCE } else { &other }).is_ok());
        assert_eq!(answered.count(), 3);
        // A file of keys that was read again: no second burst, and at a higher rate what is missing comes sooner.
        let faster = Allowance { requests_per_minute: 600, ..ALLOWANCE };
        assert_eq!(ask(&faster), Err(TooMuch(Duration::from_millis(100))));
    }

    #[test]
    fn permits_are_counted_and_come_back() {
        let limiter = Limiter::default();
        let now = Instant::now();
        let permit = || limiter.permit(client(1), &ALLOWANCE, now);
        let first = permit().unwrap();
        let _second = permit().unwrap();
        assert!(permit().is_err());
        drop(first);
        assert!(permit().is_ok());
        let unlimited = Allowance { running: 0, requests_per_minute: 0, ..ALLOWANCE };
        let many: Vec<_> = (0..100).map(|_| limiter.permit(client(2), &unlimited, now).unwrap()).collect();
        assert!((0..100).all(|_| limiter.ask(client(2), &unlimited, now).is_ok()));
        drop(many);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_running_answers_are_not_forgotten() {
        let limiter = Limiter::default();
        let now = Instant::now();
        let _permit = limiter.permit(client(0), &Allowance { running: 1, ..ALLOWANCE }, now).unwrap();
        for number in 1..3 * MOST as u32 {
            assert_eq!(limiter.ask(client(number), &ALLOWANCE, now), Ok(()));
        }
        assert!(lock(&limiter.0).len() <= MOST);
        assert!(limiter.permit(client(0), &Allowance { running: 1, ..ALLOWANCE }, now).is_err());
    }

    #[test]
    fn one_household_is_one_client() {
        let address = |text: &str| Client::address(text.parse().unwrap());
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_ne!(address("203.0.113.1"), address("203.0.113.2"));
    }
}
