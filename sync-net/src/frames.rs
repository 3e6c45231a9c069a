//! Frames on a stream: a 3-byte big-endian length, bounded before memory is taken.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use iroh::endpoint::{RecvStream, SendStream};
use serde::{Serialize, de::DeserializeOwned};
use sync_core::{limits, wire::FRAME_LENGTH_BYTES};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_length(FRAME_LENGTH_BYTES)
        .max_frame_length(limits::FRAME_BYTES_MAX)
        .new_codec()
}

/// The receiving half of a stream.
pub(crate) type FrameReader = FramedRead<RecvStream, LengthDelimitedCodec>;
/// The sending half of a stream.
pub(crate) type FrameWriter = FramedWrite<SendStream, LengthDelimitedCodec>;

pub(crate) fn reader(stream: RecvStream) -> FrameReader {
    FramedRead::new(stream, codec())
}

pub(crate) fn writer(stream: SendStream) -> FrameWriter {
    FramedWrite::new(stream, codec())
}

/// Reads one message; `None` when the stream ends, breaks, or holds anything else.
pub(crate) async fn read<T: DeserializeOwned>(frames: &mut FrameReader) -> Option<T> {
    let frame = frames.next().await?.ok()?;
    match postcard::take_from_bytes(&frame) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

/// Writes one message.
pub(crate) async fn write<T: Serialize>(frames: &mut FrameWriter, message: &T) -> std::io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(std::io::Error::other)?;
    frames.send(Bytes::from(bytes)).await
}
