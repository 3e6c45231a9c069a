//! Frames on a stream: a 3-byte big-endian length, bounded before memory is taken, and bytes that must keep coming.
//!
//! Memory grows with what arrives, never with what a length claims. It must not know what a frame means.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::SinkExt as _;
use iroh::endpoint::{RecvStream, SendStream};
use serde::{Serialize, de::DeserializeOwned};
use sync_core::{limits, wire::FRAME_LENGTH_BYTES};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::{FramedWrite, LengthDelimitedCodec};

/// The sending half of a stream.
pub(crate) type FrameWriter = FramedWrite<SendStream, LengthDelimitedCodec>;

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: RecvStream,
    bytes_max: usize,
}

/// Reads frames of any length that is allowed.
pub(crate) const fn reader(stream: RecvStream) -> FrameReader {
    FrameReader { stream, bytes_max: limits::FRAME_BYTES_MAX }
}

/// Reads requests, which are short.
pub(crate) const fn request_reader(stream: RecvStream) -> FrameReader {
    FrameReader { stream, bytes_max: limits::REQUEST_BYTES_MAX }
}

pub(crate) fn writer(stream: SendStream) -> FrameWriter {
    let codec = LengthDelimitedCodec::builder()
        .length_field_length(FRAME_LENGTH_BYTES)
        .max_frame_length(limits::FRAME_BYTES_MAX)
        .new_codec();
    FramedWrite::new(stream, codec)
}

impl FrameReader {
    /// The next frame; `None` where the stream ends between two. Waits as long as none has begun, and for the end of
    /// one only as long as it comes further.
    ///
    /// An error is `InvalidData` for a frame above its bound, `TimedOut` for one that stands still, and otherwise what
    /// the stream says. Dropping the future loses what has come of a frame.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let mut length = Vec::with_capacity(FRAME_LENGTH_BYTES);
        match self.stream.read_chunk(1).await {
            Ok(None) => return None,
            Ok(Some(first)) => length.extend_from_slice(&first),
            Err(error) => return Some(Err(error.into())),
        }
        Some(self.rest(length).await)
    }

    async fn rest(&mut self, mut length: Vec<u8>) -> io::Result<Vec<u8>> {
        self.fill(&mut length, FRAME_LENGTH_BYTES).await?;
        let len = length.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        if len > self.bytes_max {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = Vec::new();
        self.fill(&mut frame, len).await?;
        Ok(frame)
    }

    /// Reads until there are `len` bytes.
    async fn fill(&mut self, bytes: &mut Vec<u8>, len: usize) -> io::Result<()> {
        let stall = Duration::from_millis(limits::FRAME_STALL_MS);
        let (mut mark, mut deadline) = (bytes.len(), Instant::now() + stall);
        while bytes.len() < len {
            let chunk = timeout_at(deadline, self.stream.read_chunk(len - bytes.len())).await??;
            bytes.extend_from_slice(&chunk.ok_or(io::ErrorKind::UnexpectedEof)?);
            if bytes.len() >= mark + limits::FRAME_PROGRESS_BYTES {
                (mark, deadline) = (bytes.len(), Instant::now() + stall);
            }
        }
        Ok(())
    }
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
pub(crate) async fn write<T: Serialize>(frames: &mut FrameWriter, message: &T) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    frames.send(Bytes::from(bytes)).await
}
