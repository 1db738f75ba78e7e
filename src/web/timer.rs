//! When a head must have come. In: deadlines, a new one for each request. Out: sleeps, all of one connection on one timer.
//!
//! Invariant: a sleep ends at its deadline, never before; the timer behind it is only moved when it has run out, because moving
//! it for every request costs more than one useless wake-up per deadline.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The timer of one connection.
#[derive(Clone, Debug, Default)]
pub struct Timer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

/// A wait for a deadline.
struct Sleep {
    deadline: tokio::time::Instant,
    timer: Timer,
}

impl hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep { deadline: deadline.into(), timer: self.clone() })
    }
}

impl hyper::rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline)));
        if timer.deadline() > self.deadline {
            timer.as_mut().reset(self.deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            // It ran out for a request before.
            timer.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Timer as _;

    #[tokio::test]
    async fn each_ends_at_its_own_deadline_whatever_came_before() {
        let timer = Timer::default();
        let wait = |millis| {
            let (from, sleep) = (Instant::now(), timer.sleep(Duration::from_millis(millis)));
            async move {
                sleep.await;
                from.elapsed() >= Duration::from_millis(millis)
            }
        };
        // Given up, as when a head comes in time; the timer behind runs out for nobody.
        assert!(tokio::time::timeout(Duration::from_millis(5), wait(40)).await.is_err());
        assert!(wait(80).await, "later than the one before");
        assert!(tokio::time::timeout(Duration::from_millis(5), wait(60_000)).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(30), wait(20)).await.unwrap(), "earlier than the one before");
    }
}
