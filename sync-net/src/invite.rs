//! Invites: a string that lets one device join.
//!
//! It holds the secret half of the invite's key, so it is a password while it lives: it has no `Debug` that prints, and
//! is never logged.

use std::{fmt, net::SocketAddr, str::FromStr};

use iroh::{EndpointAddr, EndpointId, RelayUrl, TransportAddr};
use iroh_tickets::{ParseError, Ticket};
use serde::{Deserialize, Serialize};
use sync_core::{
    commit::SecretKey,
    ids::{DeviceId, InviteKey, SpaceId},
};

/// Lets one device join a space.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    space: SpaceId,
    secret: [u8; 32],
    host: EndpointAddr,
}

/// The text is not an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an invite, or a part of it is missing")]
pub struct InviteError;

/// The body of the string. Versions are only added.
#[derive(Serialize, Deserialize)]
enum Wire {
    V1 {
        space: SpaceId,
        secret: [u8; 32],
        host: DeviceId,
        addresses: Vec<SocketAddr>,
        relay: Option<String>,
        /// First bytes of the hash of all before, so that a damaged string is told from a refused one.
        check: [u8; 4],
    },
}

/// Most addresses that an invite carries.
const ADDRESSES_MAX: usize = 16;

fn check(
    space: &SpaceId,
    secret: &[u8; 32],
    host: &DeviceId,
    addresses: &[SocketAddr],
    relay: Option<&str>,
) -> [u8; 4] {
    let addresses = postcard::to_stdvec(&(addresses, relay)).unwrap_or_default();
    let hash = sync_core::ids::derive(sync_core::ids::context::INVITE_CHECK, &[&space.0, secret, &host.0, &addresses]);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl Invite {
    pub(crate) fn new(space: SpaceId, secret: &SecretKey, host: EndpointAddr) -> Self {
        Self { space, secret: secret.to_bytes(), host }
    }

    /// The space that it lets in to.
    #[must_use]
    pub const fn space(&self) -> SpaceId {
        self.space
    }

    pub(crate) fn secret(&self) -> SecretKey {
        SecretKey::from_bytes(&self.secret)
    }

    pub(crate) fn key(&self) -> InviteKey {
        InviteKey(self.secret().public())
    }

    pub(crate) const fn host(&self) -> &EndpointAddr {
        &self.host
    }
}

impl Ticket for Invite {
    const KIND: &'static str = "kith";

    fn encode_bytes(&self) -> Vec<u8> {
        let host = DeviceId(*self.host.id.as_bytes());
        let mut addresses: Vec<SocketAddr> = self.host.ip_addrs().copied().collect();
        addresses.truncate(ADDRESSES_MAX);
        let relay = self.host.relay_urls().next().map(ToString::to_string);
        let check = check(&self.space, &self.secret, &host, &addresses, relay.as_deref());
        let wire = Wire::V1 { space: self.space, secret: self.secret, host, addresses, relay, check };
        postcard::to_stdvec(&wire).unwrap_or_default()
    }

    fn decode_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        let damaged = || ParseError::verification_failed("damaged");
        let (wire, rest) = postcard::take_from_bytes(bytes).map_err(|_| damaged())?;
        let Wire::V1 { space, secret, host, addresses, relay, check: said } = wire;
        if !rest.is_empty() || said != check(&space, &secret, &host, &addresses, relay.as_deref()) {
            return Err(damaged());
        }
        let id = EndpointId::from_bytes(&host.0).map_err(|_| damaged())?;
        let relay = relay.map(|url| url.parse::<RelayUrl>()).transpose().map_err(|_| damaged())?;
        let transports = addresses.into_iter().map(TransportAddr::Ip).chain(relay.map(TransportAddr::Relay));
        Ok(Self { space, secret, host: EndpointAddr::from_parts(id, transports) })
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode_string())
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invite({})", self.space.short())
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        Self::decode_string(text.trim()).map_err(|_| InviteError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        let host = iroh::SecretKey::from_bytes(&[3; 32]).public();
        let address: SocketAddr = "127.0.0.1:4433".parse().expect("an address");
        let host = EndpointAddr::new(host).with_ip_addr(address);
        Invite::new(SpaceId([1; 32]), &SecretKey::from_bytes(&[2; 32]), host)
    }

    #[test]
    fn the_string_round_trips_and_holds_only_letters_and_digits() {
        let text = invite().to_string();
        assert!(text.starts_with("kith") && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        assert_eq!(text.parse(), Ok(invite()));
        assert_eq!(format!(" {text}\n").parse(), Ok(invite()));
    }

    #[test]
    fn any_other_letter_and_any_cut_are_noticed() {
        let text = invite().to_string();
        for index in 4..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[index] = if damaged[index] == b'a' { b'b' } else { b'a' };
            let damaged = String::from_utf8(damaged).expect("is ASCII");
            let parsed = damaged.parse::<Invite>();
            assert!(parsed.is_err() || parsed == Ok(invite()), "letter {index}");
            assert!(text[..index].parse::<Invite>().is_err(), "cut at {index}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", invite()).contains("0202"));
    }

    #[test]
    fn an_invite_names_so_many_addresses_and_no_more() {
        let host = iroh::SecretKey::from_bytes(&[3; 32]).public();
        let addresses = |count: usize| {
            let address = |port: usize| SocketAddr::from(([127, 0, 0, 1], port as u16 + 1));
            let host = (0..count).fold(EndpointAddr::new(host), |host, port| host.with_ip_addr(address(port)));
            let text = Invite::new(SpaceId([1; 32]), &SecretKey::from_bytes(&[2; 32]), host).to_string();
            text.parse::<Invite>().expect("is an invite").host().addrs.len()
        };
        assert_eq!(addresses(ADDRESSES_MAX), ADDRESSES_MAX);
        assert_eq!(addresses(ADDRESSES_MAX + 1), ADDRESSES_MAX);
    }
}
