//! A member that is there and ends every session at once costs its peers little.

use std::time::Duration;

use sync_core::wire::{CloseCode, SYNC_ALPN};
use sync_tests::hostile::{
    client::{Client, within},
    standing::fresh_seed,
};
use tokio::time::Instant;

use super::script;

#[test]
fn who_ends_each_session_at_once_is_dialled_ever_more_rarely() {
    script(async |bench| {
        let client = Client::serving(fresh_seed(), &[SYNC_ALPN]).await;
        let member = bench.member_as("writer", client).await;
        let mut dialled: Vec<Instant> = Vec::new();
        while dialled.len() < 5 {
            let incoming =
                within("the next dial", member.client.endpoint.accept()).await.expect("the endpoint is open");
            let Ok(connection) = incoming.await else { continue };
            if connection.remote_id() == bench.a.address.id {
                dialled.push(Instant::now());
            }
            let code = CloseCode::Duplicate;
            connection.close(iroh::endpoint::VarInt::from_u32(code.to_u32()), code.to_string().as_bytes());
        }
        // 250 ms, and then twice as long each time: a busy machine only makes it longer.
        let took = dialled[4] - dialled[0];
        assert!(took >= Duration::from_millis(3_000), "five sessions in {took:?}");
    });
}
