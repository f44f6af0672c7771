//! What becomes of a response that will never be whole: what is staged of it is taken back, and the
//! peer of a handler that panicked is told so, if there is still time.

use http::StatusCode;

use super::Shard;
use super::conn::State;
use crate::config::Conformance;
use crate::ring::Ring;
use crate::service::MakeHttpService;
use crate::slots::Key;
use crate::worker::Spawn;

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// The handler, or the body of its response, has panicked; the panic hook has reported it.
    #[cold]
    pub(super) fn handle_panic(&mut self, key: Key) {
        self.counters.handler_panics.add(1);
        let was_staged = self.take_back(key);
        if self.limits.conformance == Conformance::Strict {
            self.apologise(key, was_staged);
        }
        self.fail_exchange(key);
    }

    /// Takes back what is staged of an unfinished response, unless some of it may have been sent:
    /// then the peer sees it cut. True if all of it was taken back.
    #[cold]
    pub(super) fn take_back(&mut self, key: Key) -> bool {
        let Some(conn) = self.conns.get_mut(key) else {
            return false;
        };
        if conn.h1.response_complete() {
            return false;
        }
        let Some(begun) = conn.begun.take() else {
            return false;
        };
        let mut out = self.outbox.take(conn);
        out.rewind(begun);
        self.outbox.put(key, conn, out);
        true
    }

    /// Answers with a 500 in place of a response of which nothing has been sent.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.6.1
    //# The 500 (Internal Server Error) status code indicates that the server
    //# encountered an unexpected condition that prevented it from fulfilling
    //# the request.
    fn apologise(&mut self, key: Key, was_staged: bool) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state != State::Open || (!was_staged && conn.h1.response_begun()) {
            return;
        }
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let mut out = self.outbox.take(conn);
        conn.h1.respond_instead(status, &self.date, &mut out);
        self.counters.responses.add(1);
        self.outbox.put(key, conn, out);
    }
}
