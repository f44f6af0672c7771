//! What one look at the input comes to, in every protocol. Knows none.

/// What a machine made of its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step<E> {
    /// So many bytes are done with.
    pub consumed: usize,
    /// What they meant, or what the rest waits for.
    pub next: Next<E>,
}

/// How it goes on behind a [`Step`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next<E> {
    /// This is told; ranges in it count from the start of the input. The rest is presented at once.
    Event(E),
    /// The rest is too little.
    More,
    /// The rest has to wait until [`Wire::look_again`](crate::raw::Wire::look_again).
    Later,
}

impl<E> Step<E> {
    /// `consumed` bytes meant `event`.
    #[inline]
    pub fn event(consumed: usize, event: E) -> Self {
        Step {
            consumed,
            next: Next::Event(event),
        }
    }

    /// After `consumed` bytes there is too little.
    #[inline]
    pub fn more(consumed: usize) -> Self {
        Step {
            consumed,
            next: Next::More,
        }
    }

    /// After `consumed` bytes the rest has to wait.
    #[inline]
    pub fn later(consumed: usize) -> Self {
        Step {
            consumed,
            next: Next::Later,
        }
    }
}
