//! How many connections others may hold to us on one protocol: a few for each device, and not too many in all.
//!
//! Above either bound the oldest goes, so that somebody who opens many only closes their own, and a newcomer is never kept
//! out by whoever was first. It must not close what this device dialled itself: only accepted connections come here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use iroh::endpoint::{Connection, VarInt, WeakConnectionHandle};
use sync_core::{ids::DeviceId, limits, wire::CloseCode};

use crate::{actor::lock, session::device_of};

/// Connections on one protocol that others dialled, oldest first.
#[derive(Debug)]
pub(crate) struct Guests {
    of_device_max: usize,
    all_max: usize,
    here: Mutex<Book<WeakConnectionHandle>>,
}

/// Who is here.
#[derive(Debug)]
struct Book<H> {
    next: u64,
    guests: VecDeque<(u64, DeviceId, H)>,
}

impl<H> Default for Book<H> {
    fn default() -> Self {
        Self { next: 0, guests: VecDeque::new() }
    }
}

impl<H> Book<H> {
    /// Takes one in, and gives its number and who has to go for it.
    fn admit(
        &mut self,
        device: DeviceId,
        handle: H,
        of_device_max: usize,
        all_max: usize,
    ) -> (u64, Option<(H, CloseCode)>) {
        let of_device = self.guests.iter().filter(|(_, held, _)| *held == device).count();
        let gone = if of_device >= of_device_max {
            let oldest = self.guests.iter().position(|(_, held, _)| *held == device);
            oldest.and_then(|index| self.guests.remove(index)).map(|(.., gone)| (gone, CloseCode::Duplicate))
        } else if self.guests.len() >= all_max {
            self.guests.pop_front().map(|(.., gone)| (gone, CloseCode::Timeout))
        } else {
            None
        };
        let number = self.next;
        self.next += 1;
        self.guests.push_back((number, device, handle));
        (number, gone)
    }
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Guest {
    guests: Arc<Guests>,
    number: u64,
}

impl Guests {
    pub(crate) fn new(of_device_max: usize, all_max: usize) -> Arc<Self> {
        Arc::new(Self { of_device_max, all_max, here: Mutex::default() })
    }

    /// Of members, on a protocol on which each needs one connection.
    pub(crate) fn members() -> Arc<Self> {
        Self::new(limits::CONNECTIONS_OF_DEVICE_MAX, limits::CONNECTIONS_MAX)
    }

    /// Takes a connection in, and closes the oldest of the same device or of all where that is one too many.
    pub(crate) fn admit(self: &Arc<Self>, connection: &Connection) -> Guest {
        let (device, handle) = (device_of(connection), connection.weak_handle());
        let (number, gone) = lock(&self.here).admit(device, handle, self.of_device_max, self.all_max);
        if let Some((gone, code)) = gone
            && let Some(connection) = gone.upgrade()
        {
            connection.close(VarInt::from_u32(code.to_u32()), code.to_string().as_bytes());
        }
        Guest { guests: Arc::clone(self), number }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.guests.here).guests.retain(|(number, ..)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: usize) -> DeviceId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        DeviceId(id)
    }

    /// Takes in `count` connections, the nth by `of(n)`, and tells who had to go.
    fn gone(
        of: impl Fn(usize) -> DeviceId,
        count: usize,
        of_device_max: usize,
        all_max: usize,
    ) -> Vec<(usize, CloseCode)> {
        let mut book = Book::default();
        (0..count).filter_map(|number| book.admit(of(number), number, of_device_max, all_max).1).collect()
    }

    #[test]
    fn connections_hold_at_the_limit_and_one_past_it_turns_the_oldest_out() {
        let (own, all) = (limits::CONNECTIONS_OF_DEVICE_MAX, limits::CONNECTIONS_MAX);
        assert_eq!(gone(|_| device(1), own, own, all), []);
        assert_eq!(gone(|_| device(1), own + 1, own, all), [(0, CloseCode::Duplicate)]);
        assert_eq!(gone(device, all, own, all), []);
        assert_eq!(gone(device, all + 1, own, all), [(0, CloseCode::Timeout)]);
        assert_eq!(gone(device, limits::JOINERS_MAX, 1, limits::JOINERS_MAX), []);
        assert_eq!(gone(device, limits::JOINERS_MAX + 1, 1, limits::JOINERS_MAX), [(0, CloseCode::Timeout)]);
    }

    #[test]
    fn who_opens_many_closes_only_their_own() {
        let (own, all) = (limits::CONNECTIONS_OF_DEVICE_MAX, limits::CONNECTIONS_MAX);
        // All places are taken; the last device goes on.
        let of = |number: usize| device(number.min(all - 1));
        assert_eq!(gone(of, all + 1, own, all), [(0, CloseCode::Timeout)]);
        assert_eq!(gone(of, all + 2, own, all)[1], (all - 1, CloseCode::Duplicate));
    }
}
