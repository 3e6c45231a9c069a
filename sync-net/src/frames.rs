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

/// Where bytes come from.
pub(crate) trait Source {
    /// What is there next, at most so much of it; `None` at the end.
    fn next_bytes(&mut self, max: usize) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
}

impl Source for RecvStream {
    async fn next_bytes(&mut self, max: usize) -> io::Result<Option<Bytes>> {
        Ok(self.read_chunk(max).await?)
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct FrameReader<S = RecvStream> {
    stream: S,
    bytes_max: usize,
}

/// Reads frames of any length that is allowed.
pub(crate) const fn reader<S>(stream: S) -> FrameReader<S> {
    FrameReader { stream, bytes_max: limits::FRAME_BYTES_MAX }
}

/// Reads requests, which are short.
pub(crate) const fn request_reader<S>(stream: S) -> FrameReader<S> {
    FrameReader { stream, bytes_max: limits::REQUEST_BYTES_MAX }
}

pub(crate) fn writer(stream: SendStream) -> FrameWriter {
    let codec = LengthDelimitedCodec::builder()
        .length_field_length(FRAME_LENGTH_BYTES)
        .max_frame_length(limits::FRAME_BYTES_MAX)
        .new_codec();
    FramedWrite::new(stream, codec)
}

impl<S: Source> FrameReader<S> {
    /// The next frame; `None` where the stream ends between two. Waits as long as none has begun, and for the end of
    /// one only as long as it comes further.
    ///
    /// An error is `InvalidData` for a frame above its bound, `TimedOut` for one that stands still, and otherwise what
    /// the stream says. Dropping the future loses what has come of a frame.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let mut length = Vec::with_capacity(FRAME_LENGTH_BYTES);
        match self.stream.next_bytes(1).await {
            Ok(None) => return None,
            Ok(Some(first)) => length.extend_from_slice(&first),
            Err(error) => return Some(Err(error)),
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
        let mut patience = Patience::new(bytes.len(), Instant::now());
        while bytes.len() < len {
            let chunk = timeout_at(patience.until, self.stream.next_bytes(len - bytes.len())).await??;
            bytes.extend_from_slice(&chunk.ok_or(io::ErrorKind::UnexpectedEof)?);
            patience.came(bytes.len(), Instant::now());
        }
        Ok(())
    }
}

/// How long the rest of a frame is waited for: anew whenever it has come further by enough.
struct Patience {
    until: Instant,
    /// How far it had come then.
    mark: usize,
}

impl Patience {
    fn new(mark: usize, now: Instant) -> Self {
        Self { until: now + Duration::from_millis(limits::FRAME_STALL_MS), mark }
    }

    fn came(&mut self, bytes: usize, now: Instant) {
        if bytes >= self.mark + limits::FRAME_PROGRESS_BYTES {
            *self = Self::new(bytes, now);
        }
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::FutureExt as _;

    use super::*;

    /// Bytes that are there, in pieces.
    struct Pieces(VecDeque<Bytes>);

    impl Source for Pieces {
        async fn next_bytes(&mut self, max: usize) -> io::Result<Option<Bytes>> {
            let Some(mut piece) = self.0.pop_front() else { return Ok(None) };
            if piece.len() > max {
                self.0.push_front(piece.split_off(max));
            }
            Ok(Some(piece))
        }
    }

    /// The first frame of a length that is said, with as many bytes behind it.
    async fn first(said: usize, is_request: bool) -> Result<usize, io::ErrorKind> {
        let length = (said as u32).to_be_bytes()[1..].to_vec();
        let bytes = [length, vec![7; said]].concat();
        let source = Pieces(bytes.chunks(5_000).map(Bytes::copy_from_slice).collect());
        let mut frames = if is_request { request_reader(source) } else { reader(source) };
        let frame = frames.next().await.expect("a frame has begun");
        frame.map(|frame| frame.len()).map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn frames_and_requests_hold_at_the_limit_and_one_byte_past_it() {
        let (frame, request) = (limits::FRAME_BYTES_MAX, limits::REQUEST_BYTES_MAX);
        assert_eq!(first(frame, false).await, Ok(frame));
        assert_eq!(first(frame + 1, false).await, Err(io::ErrorKind::InvalidData));
        assert_eq!(first(request, true).await, Ok(request));
        assert_eq!(first(request + 1, true).await, Err(io::ErrorKind::InvalidData));
    }

    #[tokio::test]
    async fn a_length_that_is_too_long_is_refused_before_anything_behind_it_is_read() {
        let source = Pieces([Bytes::from_static(&[0xff; 3])].into());
        let frame = reader(source).next().now_or_never().expect("waits for nothing");
        assert_eq!(frame.map(|frame| frame.map_err(|error| error.kind())), Some(Err(io::ErrorKind::InvalidData)));
    }

    #[test]
    fn a_frame_is_waited_for_as_long_as_it_comes_further() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let stall = Duration::from_millis(limits::FRAME_STALL_MS);
        let mut patience = Patience::new(3, begun);
        assert_eq!(patience.until, begun + stall);
        patience.came(3 + limits::FRAME_PROGRESS_BYTES - 1, begun + second);
        assert_eq!(patience.until, begun + stall, "not far enough");
        patience.came(3 + limits::FRAME_PROGRESS_BYTES, begun + second);
        assert_eq!(patience.until, begun + second + stall);
        // From there it counts anew.
        patience.came(3 + 2 * limits::FRAME_PROGRESS_BYTES - 1, begun + 2 * second);
        assert_eq!(patience.until, begun + second + stall);
    }
}
