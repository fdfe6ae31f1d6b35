//! Places of the requests that are in the service, so that each is found at once.

/// A request in the service; it rises in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// How many arrived before it.
    pub(super) nth: u64,
    pub(super) slot: u32,
    /// What the driver calls it.
    pub id: u64,
}

impl Ticket {
    /// A small number that no other request in the service has at this time.
    #[must_use]
    pub fn place(&self) -> usize {
        self.slot as usize
    }
}

/// Values by ticket; the place of one that is gone is taken by the next.
#[derive(Debug)]
pub(super) struct Slots<T> {
    held: Vec<Option<(u64, T)>>,
    free: Vec<u32>,
    arrived: u64,
}

impl<T> Slots<T> {
    pub fn new() -> Self {
        Self { held: Vec::new(), free: Vec::new(), arrived: 0 }
    }

    /// The ticket of the next request, which the driver calls `id`. Nothing is held for it yet.
    pub fn ticket(&mut self, id: u64) -> Ticket {
        let nth = self.arrived;
        self.arrived += 1;
        let slot = self.free.last().copied();
        let slot = slot.unwrap_or_else(|| u32::try_from(self.held.len()).expect("few are held"));
        Ticket { nth, slot, id }
    }

    /// Holds `value` for the ticket that was last made.
    pub fn put(&mut self, ticket: Ticket, value: T) {
        if self.free.last() == Some(&ticket.slot) {
            self.free.pop();
            self.held[ticket.place()] = Some((ticket.nth, value));
        } else {
            self.held.push(Some((ticket.nth, value)));
        }
    }

    /// What is held for `ticket`, unless it is gone.
    pub fn get(&self, ticket: Ticket) -> Option<&T> {
        let (nth, value) = self.held.get(ticket.place())?.as_ref()?;
        (*nth == ticket.nth).then_some(value)
    }

    pub fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let (nth, value) = self.held.get_mut(ticket.place())?.as_mut()?;
        (*nth == ticket.nth).then_some(value)
    }

    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.get(ticket)?;
        self.free.push(ticket.slot);
        self.held[ticket.place()].take().map(|(_, value)| value)
    }

    /// All that is held, in no order that means anything, and always in the same.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.held.iter().flatten().map(|(_, value)| value)
    }

    pub fn len(&self) -> usize {
        self.held.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_is_gone_finds_nothing_though_its_place_is_taken() {
        let mut slots = Slots::new();
        let [a, b] = [10, 11].map(|id| {
            let ticket = slots.ticket(id);
            slots.put(ticket, id);
            ticket
        });
        assert_eq!(slots.remove(a), Some(10));
        let refused = slots.ticket(12);
        let c = slots.ticket(13);
        slots.put(c, 13);
        assert_eq!((a.place(), c.place(), slots.len()), (0, 0, 2));
        assert_eq!(
            [a, b, refused, c].map(|it| slots.get(it).copied()),
            [None, Some(11), None, Some(13)]
        );
        assert_eq!((slots.remove(a), slots.len()), (None, 2));
        assert!(a < b && b < c);
    }
}
