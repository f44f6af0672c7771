//! Ways to the connections of a shard from other threads.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::standard::RawOrder;
use crate::message::ZeroResponse;
use crate::protocol::ConnId;
use crate::shard::raw::Orders;

/// A way to the connections of one [`ProtocolShard`](crate::ProtocolShard), for any thread.
///
/// An order waits until the loop is polled, which it makes return; at most 4,096 do. Orders of one thread are
/// taken in their order. One for a connection that is gone by then, or not open yet, is
/// dropped and counted (`Stats::orders_dropped`), unless it is to close it.
pub struct ProtocolHandle<O>(Arc<Orders<O>>);

impl<O: Send> ProtocolHandle<O> {
    pub(super) fn new(orders: Arc<Orders<O>>) -> Self {
        ProtocolHandle(orders)
    }

    /// Asks `order` of a connection. Never blocks, and makes a system call only if the loop sleeps.
    ///
    /// # Errors
    /// The order, when too many wait or the shard is gone.
    pub fn order(&self, conn: ConnId, order: O) -> Result<(), OrderError<O>> {
        if self.0.is_closed() {
            return Err(OrderError::Closed(order));
        }
        self.0.push(conn, order).map_err(OrderError::Full)
    }

    /// Makes the present `poll` return, or the next one.
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl<O> Clone for ProtocolHandle<O> {
    fn clone(&self) -> Self {
        ProtocolHandle(self.0.clone())
    }
}

impl<O> fmt::Debug for ProtocolHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolHandle")
            .field("is_closed", &self.0.is_closed())
            .finish_non_exhaustive()
    }
}

/// Why an order was not taken, and the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderError<O> {
    /// Too many wait; try again when the loop has been polled.
    Full(O),
    /// The shard is gone.
    Closed(O),
}

impl<O> OrderError<O> {
    /// The order.
    pub fn into_inner(self) -> O {
        match self {
            OrderError::Full(order) | OrderError::Closed(order) => order,
        }
    }

    fn map<T>(self, map: impl FnOnce(O) -> T) -> OrderError<T> {
        match self {
            OrderError::Full(order) => OrderError::Full(map(order)),
            OrderError::Closed(order) => OrderError::Closed(map(order)),
        }
    }
}

impl<O> fmt::Display for OrderError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OrderError::Full(_) => "too many orders wait for the shard's loop",
            OrderError::Closed(_) => "the shard is gone",
        })
    }
}

impl<O: fmt::Debug> Error for OrderError<O> {}

/// A way to the connections of a [`RawShard`](crate::RawShard), for any thread; as [`ProtocolHandle`].
///
/// Orders wait for the loop, 4,096 at most, are taken in their order behind what the kernel has told by then, and wake
/// a loop that sleeps. Nothing here blocks or waits.
///
/// # What allocates
/// [`respond`](Self::respond) a box; [`send`](Self::send) what making `Bytes` of its argument does; the others, clones
/// and [`wake`](Self::wake) nothing.
///
/// # Errors
/// [`OrderError::Full`] gives back what was to be sent, and it is to be tried again; [`OrderError::Closed`] is for good.
/// An order that was taken and finds nobody is counted (`orders_dropped`).
#[derive(Clone, Debug)]
pub struct IoHandle(ProtocolHandle<RawOrder>);

impl IoHandle {
    pub(super) fn new(handle: ProtocolHandle<RawOrder>) -> Self {
        IoHandle(handle)
    }

    /// Sends `bytes` on a stream. Whether there is room is found out by the loop: if there is none it is told
    /// [`Event::Refused`](crate::raw::Event::Refused), with the bytes. What is sent before the connection is
    /// open ([`Event::Opened`](crate::raw::Event::Opened)) is dropped.
    ///
    /// # Errors
    /// The bytes, when too many orders wait or the shard is gone.
    pub fn send(&self, conn: ConnId, bytes: impl Into<Bytes>) -> Result<(), OrderError<Bytes>> {
        self.order(conn, RawOrder::Send(bytes.into()), |order| match order {
            RawOrder::Send(bytes) => bytes,
            _ => Bytes::new(),
        })
    }

    /// Answers the present request of a connection. Where none waits for an answer it is dropped.
    ///
    /// # Errors
    /// The response, when too many orders wait or the shard is gone.
    pub fn respond(
        &self,
        conn: ConnId,
        response: ZeroResponse,
    ) -> Result<(), OrderError<Box<ZeroResponse>>> {
        self.order(
            conn,
            RawOrder::Respond(Box::new(response)),
            |order| match order {
                RawOrder::Respond(response) => response,
                _ => Box::new(ZeroResponse::ok()),
            },
        )
    }

    /// Closes a connection at once, as [`RawShard::close`](crate::RawShard::close).
    ///
    /// # Errors
    /// Too many orders wait, or the shard is gone.
    pub fn close(&self, conn: ConnId) -> Result<(), OrderError<()>> {
        self.order(conn, RawOrder::Close, drop)
    }

    /// Closes a connection behind what was written, as
    /// [`RawShard::close_graceful`](crate::RawShard::close_graceful).
    ///
    /// # Errors
    /// Too many orders wait, or the shard is gone.
    pub fn close_graceful(&self, conn: ConnId) -> Result<(), OrderError<()>> {
        self.order(conn, RawOrder::CloseGraceful, drop)
    }

    /// Makes the present `poll` return, or the next one.
    pub fn wake(&self) {
        self.0.wake();
    }

    fn order<T>(
        &self,
        conn: ConnId,
        order: RawOrder,
        back: impl FnOnce(RawOrder) -> T,
    ) -> Result<(), OrderError<T>> {
        self.0.order(conn, order).map_err(|error| error.map(back))
    }
}
