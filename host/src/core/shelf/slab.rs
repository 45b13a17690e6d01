//! Numbered slots in pages: growing never copies, and never holds twice what is needed.

/// Slots in a page.
const PAGE: usize = 512;

/// A store of values under small numbers that are used again.
#[derive(Debug)]
pub(super) struct Slab<T> {
    pages: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            if let Some(place) = self.place(slot) {
                *place = Some(value);
            }
            return slot;
        }
        match self.pages.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(Some(value)),
            None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(Some(value));
                self.pages.push(page);
            }
        }
        let full_pages = self.pages.len().saturating_sub(1) * PAGE;
        u32::try_from(full_pages + self.pages.last().map_or(0, Vec::len) - 1).unwrap_or(u32::MAX)
    }

    fn place(&mut self, slot: u32) -> Option<&mut Option<T>> {
        let slot = slot as usize;
        self.pages.get_mut(slot / PAGE)?.get_mut(slot % PAGE)
    }

    /// One more than the highest slot that was ever used.
    pub(super) fn slots(&self) -> u32 {
        let full_pages = self.pages.len().saturating_sub(1) * PAGE;
        u32::try_from(full_pages + self.pages.last().map_or(0, Vec::len)).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let slot = slot as usize;
        self.pages.get(slot / PAGE)?.get(slot % PAGE)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.place(slot)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.place(slot)?.take()?;
        self.free.push(slot);
        self.len -= 1;
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_pages_stay() {
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..2_000).map(|n| slab.insert(n)).collect();
        assert_eq!(slots, (0..2_000).collect::<Vec<_>>());
        assert_eq!((slab.remove(700), slab.remove(700), slab.len()), (Some(700), None, 1_999));
        assert_eq!(slab.get(700), None);
        assert_eq!(slab.insert(9), 700);
        assert_eq!(slab.get(700), Some(&9));
        *slab.get_mut(1_999).unwrap() = 5;
        assert_eq!((slab.get(1_999), slab.get(2_000)), (Some(&5), None));
    }
}
