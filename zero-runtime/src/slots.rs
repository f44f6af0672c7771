//! A fixed table of slots addressed by index and generation. Knows nothing of what it holds.

/// The place of a value in a [`Slots`] table: which slot, and which of its tenants.
///
/// A key outlives its tenant harmlessly: looked up later it finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// The slot's position in its table.
    pub index: u32,
    /// Counts the slot's tenants; 24 bits wide, so that a key fits beside an op kind in 64 bits.
    pub generation: u32,
}

/// Generations wrap at 24 bits.
const GENERATION_MASK: u32 = 0x00ff_ffff;

struct Slot<T> {
    /// The generation the present tenant has, or the next one will get.
    generation: u32,
    value: Option<T>,
}

/// A table of at most `slots_max` values with stable keys.
///
/// Memory is touched as slots are first used, never given back, and never moved past its limit.
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    slots_max: usize,
}

impl<T> Slots<T> {
    /// Makes an empty table for at most `slots_max` values.
    pub fn new(slots_max: usize) -> Self {
        assert!(slots_max <= u32::MAX as usize);
        Slots {
            slots: Vec::new(),
            free: Vec::new(),
            slots_max,
        }
    }

    /// How many values are in the table.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether the table holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the table has no free slot.
    pub fn is_full(&self) -> bool {
        self.len() == self.slots_max
    }

    /// Puts what `make` returns into a free slot; `make` learns its key. `None` when full.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    value: None,
                });
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.value.is_none());
        let key = Key {
            index,
            generation: slot.generation,
        };
        slot.value = Some(make(key));
        Some(key)
    }

    /// Borrows the tenant that `key` was made for, if it is still there.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.value.as_mut()
    }

    /// Takes the tenant out; from now on its key finds nothing.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        Some(value)
    }

    /// The keys of all present tenants, in slot order.
    pub fn keys(&self) -> Vec<Key> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.is_some())
            .map(|(index, slot)| Key {
                index: index as u32,
                generation: slot.generation,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_tenant_and_never_the_next_one() {
        let mut slots = Slots::new(1);
        let first = slots.insert_with(|_| "first").unwrap();
        assert_eq!(slots.get_mut(first), Some(&mut "first"));
        assert!(slots.insert_with(|_| "too many").is_none());
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert_with(|_| "second").unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut "second"));
    }

    #[test]
    fn generations_wrap_within_24_bits() {
        let mut slots = Slots::new(1);
        let key = slots.insert_with(|_| ()).unwrap();
        slots.remove(key);
        slots.slots[0].generation = GENERATION_MASK;
        let last = slots.insert_with(|_| ()).unwrap();
        assert_eq!(last.generation, GENERATION_MASK);
        slots.remove(last);
        assert_eq!(slots.insert_with(|_| ()).unwrap().generation, 0);
    }

    #[test]
    fn keys_lists_the_present_tenants() {
        let mut slots = Slots::new(3);
        let a = slots.insert_with(|_| 'a').unwrap();
        let b = slots.insert_with(|_| 'b').unwrap();
        slots.remove(a);
        assert_eq!(slots.keys(), vec![b]);
        assert_eq!(slots.len(), 1);
    }
}
