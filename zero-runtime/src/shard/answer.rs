//! Requests that are answered where they lie: no head is kept, no call queued, nothing copied.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::conn::ReadWait;
use super::lend::{lender, present};
use super::{BodyOf, Shard};
use crate::driver::send_head;
use crate::proto::h1::{BodyKind, Event, ParseError, RequestHead};
use crate::protocol::Next;
use crate::ring::Ring;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::worker::Spawn;

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Answers the request whose head is `bytes` if all of its body is in `rest`, what came behind.
    /// Returns how much of that was the body; `None` if the request is to be called with.
    #[inline(never)]
    pub(super) fn answer_here(
        &mut self,
        key: Key,
        head: &RequestHead,
        bytes: &[u8],
        rest: &[u8],
    ) -> Option<usize> {
        let body_bytes = match head.body {
            BodyKind::None => 0,
            BodyKind::Length(length) if length <= rest.len() as u64 && !head.expect_continue => {
                length as usize
            }
            _ => return None,
        };
        let line = self.http1.table.line();
        if !line.has_valid_target(bytes) {
            self.handle_parse_error(key, ParseError::Target);
            return Some(rest.len());
        }
        let conn = self.conns.get_mut(key)?;
        let body = &rest[..body_bytes];
        if body_bytes > 0 {
            let mut next = |input| {
                let lender = lender!(self);
                present(&mut self.http1, conn, key, lender, input).next
            };
            let said = [body, &[]].map(&mut next);
            let [Next::Event(Event::Data(_)), Next::Event(Event::End)] = said else {
                unreachable!("a body of known length that is all there: {said:?}");
            };
        }
        conn.count_request(self.limits.requests_per_connection_max, &self.counters);
        conn.bulk.note(body_bytes as u64);
        conn.wait_for(ReadWait::Nothing, super::NEVER);
        let service = conn.service.as_mut()?;
        let is_head = line.is_head(bytes);
        let answered = catch_unwind(AssertUnwindSafe(|| service.answer(bytes, line, body)));
        let Ok(response) = answered else {
            self.handle_panic(key);
            return Some(body_bytes);
        };
        let mut left: Option<BodyOf<M>> = None;
        let sent = self.with_sink(key, |sink| {
            left = send_head(response, is_head, sink)?;
            Ok(())
        });
        match (sent, left) {
            (Ok(()), None) => self.response_done(key),
            (Ok(()), Some(body)) => self.send_here(key, body),
            (Err(()), _) => self.fail_exchange(key),
        }
        Some(body_bytes)
    }
}
