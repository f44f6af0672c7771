//! Requests and responses of the server's own: for handlers that need none of `http`'s maps.
//!
//! A request is the bytes of its head and where in them its line lies; a response is header lines that
//! are encoded as they are set. Neither allocates while nothing unusual is asked of it. Knows the
//! syntax of heads; knows nothing of shards.

mod body;
mod buffer;
mod owned;
mod request;
mod response;
mod write;

pub use body::{BodyStream, BodyTooLarge, CollectError, ResponseBody};
pub use buffer::SendBuffer;
pub use owned::{HttpOwnedRequest, OwnedHead};
pub use request::{Headers, HttpRequest};
pub use response::{InvalidHeader, ResponseHead, ZeroResponse};
pub(crate) use response::{Lines, Pooled};
pub(crate) use write::{ReasonPhrase, Whole, fits_one_send, write_lines, write_parts};
