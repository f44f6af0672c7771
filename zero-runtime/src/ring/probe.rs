//! Asks the kernel, once at start, whether its io_uring can carry a shard.
//!
//! Makes a tiny ring as a shard would and throws it away; what is not there is told with its remedy.

#![allow(unsafe_code)]

use io_uring::{IoUring, Probe, opcode};

pub use crate::error::Refusal;

/// Tells why the kernel's io_uring cannot carry a shard, if so it is.
///
/// # Errors
/// The cause, with its remedy.
pub fn probe() -> Result<(), Refusal> {
    let ring = setup()?;
    check_waiting(&ring)?;
    let ops = probe_ops(&ring)?;
    check_ops(&ops)?;
    check_buffer_ring(&ring)
}

/// Sets a ring up with the flags of a shard's. Linux 6.1 was the first to know them all.
fn setup() -> Result<IoUring, Refusal> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(ENTRIES)
        .map_err(|error| Refusal::of(error, "IORING_SETUP_DEFER_TASKRUN"))
}

/// A shard waits with a time limit and must never lose a completion.
fn check_waiting(ring: &IoUring) -> Result<(), Refusal> {
    if !ring.params().is_feature_ext_arg() {
        return Err(Refusal::TooOld("IORING_FEAT_EXT_ARG"));
    }
    if !ring.params().is_feature_nodrop() {
        return Err(Refusal::TooOld("IORING_FEAT_NODROP"));
    }
    Ok(())
}

fn probe_ops(ring: &IoUring) -> Result<Probe, Refusal> {
    let mut ops = Probe::new();
    ring.submitter()
        .register_probe(&mut ops)
        .map_err(|error| Refusal::of(error, "IORING_REGISTER_PROBE"))?;
    Ok(ops)
}

fn check_ops(ops: &Probe) -> Result<(), Refusal> {
    match NEEDED.iter().find(|(code, _)| !ops.is_supported(*code)) {
        Some((_, name)) => Err(Refusal::TooOld(name)),
        None => Ok(()),
    }
}

/// Registers a ring of provided buffers, without any buffer in it, and takes it back.
fn check_buffer_ring(ring: &IoUring) -> Result<(), Refusal> {
    let page = Box::new(Page([0; PAGE_BYTES]));
    let address = page.0.as_ptr().addr() as u64;
    let submitter = ring.submitter();
    // SAFETY: `page` is aligned to every page size Linux has, holds the 16 bytes of each entry, and
    // is freed only below, after the ring of buffers is unregistered, or leaked. The kernel writes
    // to it only when it picks a buffer for an operation, and none is ever submitted.
    let registered =
        unsafe { submitter.register_buf_ring_with_flags(address, ENTRIES as u16, GROUP, 0) };
    registered.map_err(|error| Refusal::of(error, "IORING_REGISTER_PBUF_RING"))?;
    if let Err(error) = submitter.unregister_buf_ring(GROUP) {
        std::mem::forget(page);
        return Err(Refusal::of(error, "IORING_UNREGISTER_PBUF_RING"));
    }
    Ok(())
}

/// The operations a shard stages.
const NEEDED: [(u8, &str); 9] = [
    (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
    (opcode::RecvMulti::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT"),
    (opcode::Read::CODE, "IORING_OP_READ"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
    (opcode::Timeout::CODE, "IORING_OP_TIMEOUT"),
];

/// Of the ring, and of the ring of buffers; a power of two.
const ENTRIES: u32 = 8;
/// Any group will do on a ring of its own.
const GROUP: u16 = 0;
/// The largest page of any machine we run on.
const PAGE_BYTES: usize = 64 * 1024;

#[repr(C, align(65536))]
struct Page([u8; PAGE_BYTES]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing_finds_all_or_tells_a_remedy() {
        if let Err(refusal) = probe() {
            assert!(refusal.to_string().contains("io_uring"));
        }
    }

    #[test]
    fn a_missing_operation_is_named() {
        // A probe that was never registered knows no operation.
        let refusal = check_ops(&Probe::new()).unwrap_err();
        assert!(refusal.is_unavailable());
        assert_eq!(
            refusal.to_string(),
            "the kernel's io_uring is too old: it lacks IORING_OP_ACCEPT; run on Linux 6.1 or later"
        );
    }
}
