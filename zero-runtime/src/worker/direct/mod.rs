//! Answers that a worker gives its client itself, because the shard sleeps: what such an answer is, and how it
//! is given.
// What could not be given goes back by value: a box would cost each of them an allocation.
#![allow(clippy::result_large_err)]

#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use super::FirstPoll;
use crate::bridge::lent::Desk;
use crate::bridge::reply::ReplySender;
use crate::message::{self, Whole};

thread_local! {
    /// Taken by whoever answers, and put back: one that answers meanwhile, or panics, leaves no desk in use.
    static DESK: Cell<Option<Box<Desk>>> = const { Cell::new(None) };
}

/// Answers with what a call that is complete has said, if that is small and the shard sleeps. Gives it
/// back if the shard is to have it.
pub(super) fn answer(reply: &mut ReplySender, said: FirstPoll) -> Result<(), FirstPoll> {
    let FirstPoll {
        head: Some((head, length)),
        data,
        trailers: None,
        ..
    } = said
    else {
        return Err(said);
    };
    let answered = match message::fits_one_send(&head, data.as_deref().unwrap_or_default()) {
        false => Err(head),
        true => reply.answer_directly(head, |lent, head| {
            let data = data.clone();
            let whole = Whole { head, length, data };
            let mut desk = DESK.take().unwrap_or_default();
            let answered = lent.answer(whole, &mut desk);
            desk.clear();
            DESK.set(Some(desk));
            answered
        }),
    };
    answered.map_err(|head| FirstPoll {
        head: Some((head, length)),
        data,
        ..FirstPoll::default()
    })
}
