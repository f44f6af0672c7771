//! The simulated application's response bodies: whole, in pieces with pauses, or echoing; some fail.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::app::{Counted, Place, quiet_panic};
use super::plan::{Answer, Fault, Plan};
use super::rng::Rng;
use super::spawn::{SimSpawn, Sleep};
use crate::body::RequestBody;
use crate::error::BoxError;

/// A response's body.
pub(super) struct SimBody {
    pieces: VecDeque<Bytes>,
    /// What `size_hint` says is left, if it says anything.
    declared: Option<u64>,
    fault: Fault,
    sent: usize,
    /// The request's body is echoed instead.
    echo: Option<RequestBody>,
    spawn: SimSpawn,
    rng: Rng,
    sleep: Option<Pin<Box<Sleep>>>,
    pause_one_in: u64,
    _counted: Counted,
}

impl SimBody {
    pub(super) fn new(
        plan: &Plan,
        bytes: Vec<u8>,
        echo: Option<RequestBody>,
        spawn: SimSpawn,
        counted: &Counted,
    ) -> Self {
        let mut bytes = Bytes::from(bytes);
        let declared = match plan.answer {
            Answer::Pieces { sized: false, .. } | Answer::EchoStream => None,
            _ => Some(bytes.len() as u64),
        };
        let (piece, pause_one_in) = match plan.answer {
            Answer::Pieces { piece, .. } => (piece, 4),
            _ => (usize::MAX, u64::MAX),
        };
        if let Fault::Body(end) | Fault::BodyPanic(end) | Fault::Short(end) = plan.fault {
            bytes.truncate(end);
        }
        let mut pieces = VecDeque::new();
        while !bytes.is_empty() {
            pieces.push_back(bytes.split_to(piece.min(bytes.len())));
        }
        SimBody {
            pieces,
            declared,
            fault: plan.fault,
            sent: 0,
            echo,
            spawn,
            rng: Rng::new(plan.seed ^ 2),
            sleep: None,
            pause_one_in,
            _counted: counted.another(Place::ResponseBody),
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() && self.rng.one_in(self.pause_one_in) {
            let ns = self.rng.range(1, 3_000_000);
            self.sleep = Some(Box::pin(self.spawn.sleep(ns)));
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        Poll::Ready(())
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.poll_pause(cx));
        if let Some(echo) = &mut self.echo {
            return Pin::new(echo).poll_frame(cx).map_err(Into::into);
        }
        if let Some(piece) = self.pieces.pop_front() {
            self.sent += piece.len();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.fault {
            Fault::Body(_) => Poll::Ready(Some(Err("a simulated body error".into()))),
            Fault::BodyPanic(_) => quiet_panic(),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.echo, self.fault) {
            (Some(echo), _) => echo.is_end_stream(),
            (None, Fault::None) => self.pieces.is_empty(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.echo, self.declared) {
            (Some(echo), _) => echo.size_hint(),
            (None, Some(declared)) => SizeHint::with_exact(declared - self.sent as u64),
            (None, None) => SizeHint::default(),
        }
    }
}
