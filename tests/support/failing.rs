//! Which call of a peer fails, and how: a proxy that counts calls asks here what becomes of each.

use std::sync::Mutex;

use tokio::sync::Semaphore;

/// What becomes of the call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// From this call on nobody is there: connections are refused.
    Gone,
    /// Not delivered, and the connection is reset.
    Reset,
    /// Delivered, and the connection ends without the answer.
    AnswerLost,
    /// Delivered, and answered by an inner error of the server.
    ServerFails,
    /// Neither delivered nor answered.
    Hangs,
}

impl Failure {
    pub const ALL: [Failure; 5] =
        [Failure::AnswerLost, Failure::ServerFails, Failure::Gone, Failure::Reset, Failure::Hangs];
}

/// What a proxy does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    Passes,
    Fails(Failure),
    /// It waits at [`Failing::at_the_gate`], and passes then.
    IsHeld,
}

#[derive(Clone, Copy)]
enum Order {
    /// The call of this number, from 0.
    Nth(usize, Failure),
    /// The first call that writes.
    FirstWrite(Becomes),
    /// The answer to the first that writes is lost, and then nobody is there any more.
    GoneAfterWrite,
}

#[derive(Default)]
struct Seen {
    order: Option<Order>,
    calls: usize,
    writes: usize,
    was_hit: bool,
}

/// Shared by a test and its proxy.
pub struct Failing {
    seen: Mutex<Seen>,
    reached: Semaphore,
    opened: Semaphore,
}

impl Default for Failing {
    fn default() -> Self {
        Self { seen: Mutex::default(), reached: Semaphore::new(0), opened: Semaphore::new(0) }
    }
}

impl Failing {
    /// Counts anew from here; everything passes.
    pub fn nothing(&self) {
        self.order(None);
    }

    /// The `n`-th call from here on, from 0, fails.
    pub fn at_call(&self, n: usize, failure: Failure) {
        self.order(Some(Order::Nth(n, failure)));
    }

    /// The next call that writes fails.
    pub fn at_write(&self, failure: Failure) {
        self.order(Some(Order::FirstWrite(Becomes::Fails(failure))));
    }

    /// The next call that writes is delivered, and is the last that is.
    pub fn gone_after_write(&self) {
        self.order(Some(Order::GoneAfterWrite));
    }

    /// The next call that writes waits until it is let through.
    pub fn hold_write(&self) {
        self.order(Some(Order::FirstWrite(Becomes::IsHeld)));
    }

    fn order(&self, order: Option<Order>) {
        *self.seen.lock().unwrap() = Seen { order, ..Seen::default() };
    }

    /// Calls since the last order.
    pub fn calls(&self) -> usize {
        self.seen.lock().unwrap().calls
    }

    /// Those of them that may change something, delivered or not.
    pub fn writes(&self) -> usize {
        self.seen.lock().unwrap().writes
    }

    /// The call that was to fail has come.
    pub fn was_hit(&self) -> bool {
        self.seen.lock().unwrap().was_hit
    }

    /// Waits until a write stands at the gate.
    pub async fn write_is_held(&self) {
        self.reached.acquire().await.expect("never closed").forget();
    }

    pub fn let_through(&self) {
        self.opened.add_permits(1);
    }

    // For the proxies.

    /// One call more: what becomes of it.
    pub fn call(&self, writes: bool) -> Becomes {
        let mut seen = self.seen.lock().unwrap();
        let number = seen.calls;
        seen.calls += 1;
        let is_first_write = writes && seen.writes == 0;
        seen.writes += usize::from(writes);
        let becomes = match seen.order {
            Some(Order::Nth(n, failure)) if number == n || (number > n && failure == Failure::Gone) => {
                Becomes::Fails(failure)
            }
            Some(Order::FirstWrite(becomes)) if is_first_write => becomes,
            Some(Order::GoneAfterWrite) if is_first_write => Becomes::Fails(Failure::AnswerLost),
            Some(Order::GoneAfterWrite) if seen.was_hit => Becomes::Fails(Failure::Gone),
            Some(_) | None => Becomes::Passes,
        };
        seen.was_hit |= becomes != Becomes::Passes;
        becomes
    }

    /// A new connection is refused; that counts as the call that it was for.
    pub fn refuses(&self) -> bool {
        let mut seen = self.seen.lock().unwrap();
        let refuses = match seen.order {
            Some(Order::Nth(n, Failure::Gone)) => seen.calls >= n,
            Some(Order::GoneAfterWrite) => seen.was_hit,
            Some(_) | None => false,
        };
        seen.calls += usize::from(refuses);
        seen.was_hit |= refuses;
        refuses
    }

    /// Connections end after each answer, so that the one for a refused call is a new one.
    pub fn ends_connections(&self) -> bool {
        matches!(self.seen.lock().unwrap().order, Some(Order::Nth(_, Failure::Gone)))
    }

    pub async fn at_the_gate(&self) {
        self.reached.add_permits(1);
        self.opened.acquire().await.expect("never closed").forget();
    }
}
