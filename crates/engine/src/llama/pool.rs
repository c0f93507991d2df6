//! A few things for many who need one for a while.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whoever waits longest gets what is given back: one who takes again and again keeps nobody waiting.
pub(super) struct Pool<T> {
    things: Vec<Mutex<T>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Which of the things.
    free: Vec<usize>,
    /// Numbers of those who wait, in their order.
    waiting: VecDeque<u64>,
    next: u64,
}

impl<T> Pool<T> {
    pub(super) fn new(things: impl IntoIterator<Item = T>) -> Self {
        let things: Vec<_> = things.into_iter().map(Mutex::new).collect();
        let state = State { free: (0..things.len()).collect(), waiting: VecDeque::new(), next: 0 };
        Self { things, state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }

    /// Waits for one that is free.
    pub(super) fn take(&self) -> Taken<'_, T> {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        loop {
            if state.waiting.front() == Some(&number)
                && let Some(index) = state.free.pop()
            {
                state.waiting.pop_front();
                // Another may be free for the next.
                self.changed.notify_all();
                return Taken { thing: lock(&self.things[index]), pool: self, index };
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What panics while it has one gives it back all the same; each use begins anew.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of a pool's, given back when it is dropped.
pub(super) struct Taken<'a, T> {
    thing: MutexGuard<'a, T>,
    pool: &'a Pool<T>,
    index: usize,
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        lock(&self.pool.state).free.push(self.index);
        self.pool.changed.notify_all();
    }
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.thing
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_are_out_than_there_are_and_all_come_back() {
        let pool = Pool::new([0u32; 3]);
        let out = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let mut one = pool.take();
                        assert!(out.fetch_add(1, Ordering::SeqCst) < 3);
                        *one += 1;
                        out.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let state = lock(&pool.state);
        assert_eq!((state.free.len(), state.waiting.len()), (3, 0));
        assert_eq!(pool.things.iter().map(|thing| *lock(thing)).sum::<u32>(), 4000);
    }

    #[test]
    fn whoever_takes_again_comes_after_those_who_wait() {
        let pool = Pool::new([()]);
        let order = Mutex::new(Vec::new());
        let first = pool.take();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _one = pool.take();
                order.lock().unwrap().push("waited");
            });
            while lock(&pool.state).waiting.is_empty() {
                std::thread::yield_now();
            }
            drop(first);
            let _again = pool.take();
            order.lock().unwrap().push("again");
        });
        assert_eq!(*order.lock().unwrap(), ["waited", "again"]);
    }
}
