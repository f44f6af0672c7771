//! One mapped area with a guard page on either side. Knows nothing of what is kept in it.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use crate::config::Toggle;

/// Guard pages and rounding use the base page size of x86-64 and of common arm64 kernels' multiples.
const PAGE_BYTES: usize = 65536;

/// Zeroed, page-aligned memory of fixed size; an access past either end faults.
pub struct Region {
    /// Start of the usable part.
    start: NonNull<u8>,
    /// Usable bytes, a multiple of the page size.
    len: usize,
    /// Start of the whole mapping, guards included.
    mapping: NonNull<u8>,
}

impl Region {
    /// Maps at least `bytes`.
    ///
    /// # Errors
    /// When the kernel has no memory to map, with `huge_pages: On` also when it has no huge pages
    /// to advise.
    pub fn new(bytes: usize, huge_pages: Toggle) -> io::Result<Self> {
        let len = bytes.max(1).next_multiple_of(PAGE_BYTES);
        let mapping = map_reserved(len + 2 * PAGE_BYTES)?;
        // SAFETY: the mapping is `len` and two guards long, so its second page lies inside it.
        let start = unsafe { mapping.add(PAGE_BYTES) };
        let region = Region {
            start,
            len,
            mapping,
        };
        region.open()?;
        region.advise(huge_pages)?;
        Ok(region)
    }

    /// The first usable byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Usable bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes the part between the guards accessible.
    fn open(&self) -> io::Result<()> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: `start..start + len` lies inside a mapping of ours that nothing else refers to.
        let done = unsafe { libc::mprotect(self.start.as_ptr().cast(), self.len, protection) };
        check(done)
    }

    fn advise(&self, huge_pages: Toggle) -> io::Result<()> {
        // A forked child must not share memory that the kernel writes for us.
        // SAFETY: as in `open`; the advice changes no byte.
        let done =
            unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, libc::MADV_DONTFORK) };
        check(done)?;
        if matches!(huge_pages, Toggle::Off) {
            return Ok(());
        }
        // SAFETY: as above.
        let done =
            unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, libc::MADV_HUGEPAGE) };
        match check(done) {
            Err(error) if matches!(huge_pages, Toggle::On) => Err(io::Error::new(
                error.kind(),
                format!(
                    "huge pages were asked for, but the kernel refuses them ({error}); \
                     set huge_pages to Auto or Off, or enable transparent huge pages"
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map_reserved` with exactly this length, and every user
        // of it borrows or owns this region.
        let done = unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.len + 2 * PAGE_BYTES) };
        debug_assert_eq!(done, 0);
    }
}

/// Reserves address space that cannot be touched yet.
fn map_reserved(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice affects nothing.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mmap returned a null mapping"))
}

fn check(done: libc::c_int) -> io::Result<()> {
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_zeroed_and_writable_to_its_last_byte() {
        let region = Region::new(100_000, Toggle::Auto).unwrap();
        assert!(region.len() >= 100_000);
        let start = region.start().as_ptr();
        // SAFETY: `len` bytes from `start` are mapped, and nothing else refers to them.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, region.len()) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        *bytes.last_mut().unwrap() = 1;
    }
}
