//! What a node is told when it starts.

use std::{fmt, str::FromStr, time::Duration};

use sync_core::{limits, member::Role};

/// How far a node reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// Relays, lookup by DNS, and the local network.
    #[default]
    Public,
    /// The local network only, found by multicast DNS.
    Lan,
    /// This machine only: no lookup, no relay, no port mapping.
    Loopback,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Lan => "lan",
            Self::Loopback => "loopback",
        })
    }
}

/// The text names no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is public, lan or loopback")]
pub struct UnknownNetwork;

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        match text {
            "public" => Ok(Self::Public),
            "lan" => Ok(Self::Lan),
            "loopback" => Ok(Self::Loopback),
            _ => Err(UnknownNetwork),
        }
    }
}

/// How a folder is shared.
#[derive(Debug, Clone)]
pub struct ShareOptions {
    /// What people call it; the directory's own name unless told.
    pub name: Option<String>,
    /// The role that the invite gives.
    pub role: Role,
    /// How long the invite lives.
    pub life: Duration,
}

impl Default for ShareOptions {
    fn default() -> Self {
        Self { name: None, role: Role::Writer, life: Duration::from_millis(limits::INVITE_LIFE_MS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_lives_for_a_day_unless_told_otherwise() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!((ShareOptions::default().life, Duration::from_millis(limits::INVITE_LIFE_MS)), (day, day));
    }
}
