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
    here: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    guests: VecDeque<(u64, DeviceId, WeakConnectionHandle)>,
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
        let device = device_of(connection);
        let mut book = lock(&self.here);
        let of_device = book.guests.iter().filter(|(_, held, _)| *held == device).count();
        if of_device >= self.of_device_max {
            let oldest = book.guests.iter().position(|(_, held, _)| *held == device);
            turn_out(oldest.and_then(|index| book.guests.remove(index)), CloseCode::Duplicate);
        } else if book.guests.len() >= self.all_max {
            turn_out(book.guests.pop_front(), CloseCode::Timeout);
        }
        let number = book.next;
        book.next += 1;
        book.guests.push_back((number, device, connection.weak_handle()));
        Guest { guests: Arc::clone(self), number }
    }
}

fn turn_out(guest: Option<(u64, DeviceId, WeakConnectionHandle)>, code: CloseCode) {
    if let Some(connection) = guest.and_then(|(_, _, connection)| connection.upgrade()) {
        connection.close(VarInt::from_u32(code.to_u32()), code.to_string().as_bytes());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.guests.here).guests.retain(|(number, ..)| *number != self.number);
    }
}
