//! One mapped area with a guard page on either side. Knows nothing of what is kept in it.
//!
//! Mapping touches nothing: a page is had, and on a machine with several memories had near the thread,
//! when it is first written. So a region is made by the thread that uses it, and may be larger than what
//! is used of it.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use crate::config::Toggle;

/// Guard pages and rounding use the base page size of x86-64 and of common arm64 kernels' multiples.
const PAGE_BYTES: usize = 65536;
/// The huge page that every machine with huge pages has.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// What a region's pages are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// The machine's ordinary ones.
    Pages,
    /// Those, and the kernel may join them to huge ones as they are touched.
    Transparent,
    /// Huge ones, of those that were reserved for the purpose (`vm.nr_hugepages`).
    Huge,
}

/// Zeroed, page-aligned memory of fixed size; an access past either end faults.
pub struct Region {
    /// Start of the usable part.
    start: NonNull<u8>,
    /// Usable bytes, a multiple of the page size.
    len: usize,
    /// The whole mapping, guards included.
    _mapping: Mapping,
    backing: Backing,
}

impl Region {
    /// Maps at least `bytes`, on the best pages that `huge_pages` lets it have: reserved huge ones, else
    /// ordinary ones that the kernel may join.
    ///
    /// # Errors
    /// When the kernel has no memory to map, with `huge_pages: On` also when it has no huge pages of
    /// either kind.
    pub fn new(bytes: usize, huge_pages: Toggle) -> io::Result<Self> {
        if matches!(huge_pages, Toggle::Off) {
            return Region::of_pages(bytes);
        }
        // Whatever is amiss with them is no reason to go without buffers.
        if let Ok(region) = Region::of_huge_pages(bytes) {
            return Ok(region);
        }
        let mut region = Region::of_pages(bytes)?;
        match region.advise(libc::MADV_HUGEPAGE) {
            Ok(()) => region.backing = Backing::Transparent,
            Err(error) if matches!(huge_pages, Toggle::On) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!(
                        "huge pages were asked for, but the kernel refuses them ({error}); set \
                         huge_pages to Auto or Off, reserve some (sysctl vm.nr_hugepages), or enable \
                         transparent huge pages"
                    ),
                ));
            }
            Err(_) => {}
        }
        Ok(region)
    }

    fn of_pages(bytes: usize) -> io::Result<Self> {
        let len = bytes.max(1).next_multiple_of(PAGE_BYTES);
        let mapping = Mapping::reserve(len + 2 * PAGE_BYTES)?;
        let region = Region {
            start: mapping.at(PAGE_BYTES),
            len,
            _mapping: mapping,
            backing: Backing::Pages,
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: `start..start + len` lies inside a mapping of ours that nothing else refers to.
        let done = unsafe { libc::mprotect(region.start.as_ptr().cast(), region.len, protection) };
        check(done)?;
        // A forked child must not share memory that the kernel writes for us.
        region.advise(libc::MADV_DONTFORK)?;
        Ok(region)
    }

    fn of_huge_pages(bytes: usize) -> io::Result<Self> {
        let len = bytes.max(1).next_multiple_of(HUGE_PAGE_BYTES);
        // A guard on either side, and what it may take to come to a multiple of the page's size.
        let mapping = Mapping::reserve(len + 3 * HUGE_PAGE_BYTES)?;
        let misaligned = mapping.start.as_ptr().addr() % HUGE_PAGE_BYTES;
        let region = Region {
            start: mapping.at(2 * HUGE_PAGE_BYTES - misaligned),
            len,
            _mapping: mapping,
            backing: Backing::Huge,
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // Reserved with the mapping: to run out of them later would be a signal, not an error.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let flags = flags | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
        let at = region.start.as_ptr().cast();
        // SAFETY: takes the place of a part of a mapping of ours that nothing else refers to: it begins
        // at most two huge pages behind its start, and ends at least one before its end.
        let mapped = unsafe { libc::mmap(at, len, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        region.advise(libc::MADV_DONTFORK)?;
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

    /// What its pages are.
    pub fn backing(&self) -> Backing {
        self.backing
    }

    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: `start..start + len` is ours, and neither advice used here changes a byte.
        let done = unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, advice) };
        check(done)
    }
}

/// Reserved address space, given back when dropped, whatever has been mapped into it by then.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Reserves address space that cannot be touched yet.
    fn reserve(len: usize) -> io::Result<Mapping> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice affects nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(at.cast());
        let start = start.ok_or_else(|| io::Error::other("mmap returned a null mapping"))?;
        Ok(Mapping { start, len })
    }

    /// The address so many bytes behind the start.
    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len);
        // SAFETY: the offset lies inside the mapping.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `reserve` with exactly this length, and every user of it
        // borrows or owns its region.
        let done = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(done, 0);
    }
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

    /// The mappings of this process: where each begins and ends, and how it may be used.
    fn mappings() -> Vec<(usize, usize, String)> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let (start, end) = words.next()?.split_once('-')?;
            let hex = |text| usize::from_str_radix(text, 16).ok();
            Some((hex(start)?, hex(end)?, words.next()?.to_owned()))
        };
        maps.lines().map(|line| parse(line).unwrap()).collect()
    }

    #[test]
    fn either_side_is_guarded() {
        for huge_pages in [Toggle::Off, Toggle::Auto] {
            let region = Region::new(100_000, huge_pages).unwrap();
            let start = region.start().as_ptr().addr();
            let end = start + region.len();
            let use_of = |address: usize| {
                let mappings = mappings();
                let mut around = mappings.into_iter();
                let mapping = around.find(|(start, end, _)| (*start..*end).contains(&address));
                mapping.unwrap().2
            };
            assert!(use_of(start).starts_with("rw") && use_of(end - 1).starts_with("rw"));
            assert!(
                use_of(start - 1).starts_with("---"),
                "before {huge_pages:?}"
            );
            assert!(use_of(end).starts_with("---"), "behind {huge_pages:?}");
        }
    }

    /// Huge pages that are reserved and free, as far as the machine tells.
    fn free_huge_pages() -> usize {
        let free = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
        let free = std::fs::read_to_string(free).unwrap_or_default();
        free.trim().parse().unwrap_or(0)
    }

    #[test]
    fn reserved_huge_pages_are_used_where_there_are_some_and_only_if_asked_for() {
        assert_eq!(
            Region::new(1, Toggle::Off).unwrap().backing(),
            Backing::Pages
        );
        let free = free_huge_pages();
        let asked = Region::new(1, Toggle::Auto).unwrap();
        match free {
            0 => assert_ne!(asked.backing(), Backing::Huge),
            _ => assert_eq!(asked.backing(), Backing::Huge),
        }
    }

    #[test]
    fn more_huge_pages_than_there_are_is_no_error() {
        let bytes = (free_huge_pages() + 100) * HUGE_PAGE_BYTES;
        let region = Region::new(bytes, Toggle::Auto).unwrap();
        assert_ne!(region.backing(), Backing::Huge);
        assert!(region.len() >= bytes);
    }
}
