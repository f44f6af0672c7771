//! What becomes of an exchange whose handler has panicked: its peer is told, if there is still time,
//! and its connection ends. Nobody else's does.

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
        if self.limits.conformance == Conformance::Strict {
            self.apologise(key);
        }
        self.fail_exchange(key);
    }

    /// Answers with a 500 in place of a response of which nothing has been sent.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.6.1
    //# The 500 (Internal Server Error) status code indicates that the server
    //# encountered an unexpected condition that prevented it from fulfilling
    //# the request.
    fn apologise(&mut self, key: Key) {
        let mut out = self.take_out(key);
        if let Some(conn) = self.conns.get_mut(key)
            && conn.state == State::Open
            && !conn.h1.response_complete()
        {
            let is_staged = match conn.begun.take() {
                Some(begun) => {
                    out.rewind(begun);
                    true
                }
                None => false,
            };
            if is_staged || !conn.h1.response_begun() {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                conn.h1.respond_instead(status, &self.date, &mut out);
                self.counters.responses.add(1);
            }
        }
        self.put_out(key, out);
    }
}
