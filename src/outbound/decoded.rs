//! Bodies that come compressed, read to their end: all members of a gzip file (RFC 1952, section 2.2), and nothing left
//! over behind them, so that a part never passes for the whole.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, TryStreamExt as _, try_unfold};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;
use url::Url;

use super::error::Error;

/// What is asked for, and read.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, br, deflate");
/// Bytes that are decoded at once.
const PIECE_BYTES: usize = 16 * 1024;

type Coming = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
type Source = StreamReader<Coming, Bytes>;

/// A body, piece by piece.
pub(super) enum Pieces {
    AsSent(reqwest::Response),
    Decoded(Coming),
}

/// The body of an answer, decoded if it is encoded in one way that is known. What described the encoded one is taken
/// out of `headers`.
pub(super) fn pieces(answer: reqwest::Response, headers: &mut HeaderMap) -> Pieces {
    let mut given = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = given.next().filter(|_| given.next().is_none());
    let encoding = encoding.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let coming = match encoding.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => {
            let mut decoder = GzipDecoder::new(source(answer));
            decoder.multiple_members(true);
            decoded(decoder, GzipDecoder::get_mut)
        }
        "br" => decoded(BrotliDecoder::new(source(answer)), BrotliDecoder::get_mut),
        "deflate" => decoded(ZlibDecoder::new(source(answer)), ZlibDecoder::get_mut),
        _ => return Pieces::AsSent(answer),
    };
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    Pieces::Decoded(coming)
}

fn source(answer: reqwest::Response) -> Source {
    let coming: Coming = Box::pin(answer.bytes_stream().map_err(io::Error::other));
    StreamReader::new(coming)
}

/// What `decoder` makes of the `source` inside it.
fn decoded<D: AsyncRead + Unpin + Send + 'static>(
    decoder: D,
    source: fn(&mut D) -> &mut Source,
) -> Coming {
    Box::pin(try_unfold((decoder, true), move |(mut decoder, is_first)| async move {
        // An answer to HEAD names an encoding and has no body.
        if is_first && source(&mut decoder).fill_buf().await?.is_empty() {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        if decoder.read_buf(&mut piece).await? > 0 {
            return Ok(Some((piece.freeze(), (decoder, false))));
        }
        match source(&mut decoder).fill_buf().await?.is_empty() {
            true => Ok(None),
            false => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "there is more behind its end"))
            }
        }
    }))
}

impl Pieces {
    pub(super) fn are_as_sent(&self) -> bool {
        matches!(self, Self::AsSent(_))
    }

    /// The next piece; none at the end of the body.
    pub(super) async fn next(&mut self, url: &Url) -> Result<Option<Bytes>, Error> {
        match self {
            Self::AsSent(answer) => {
                answer.chunk().await.map_err(|error| Error::of_exchange(error, url))
            }
            Self::Decoded(coming) => coming.try_next().await.map_err(|error| failure(error, url)),
        }
    }
}

/// Why a body could not be decoded: because it did not come, or because of what came.
fn failure(error: io::Error, url: &Url) -> Error {
    let host = || url.host_str().unwrap_or_default().to_owned();
    match error.downcast::<reqwest::Error>() {
        Ok(error) => Error::of_exchange(error, url),
        Err(error) => Error::Encoding { host: host(), reason: error.to_string() },
    }
}
