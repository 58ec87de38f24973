//! Files by key.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::{Answered, StoreError};

/// A file as it is written, piece by piece.
pub type Pieces<'a> = BoxStream<'a, Result<Bytes, StoreError>>;

/// Immutable files by key. A put is on disk, whole, when its future resolves.
pub trait Blobs: Send + Sync {
    fn put(&self, key: &str, bytes: Bytes) -> Answered<'_, ()>;
    /// The same of a file that is not in memory as a whole. Nothing is there under the key when
    /// a piece is an error.
    fn put_pieces<'a>(&'a self, key: &str, pieces: Pieces<'a>) -> Answered<'a, ()> {
        let key = key.to_owned();
        async move {
            let join = |mut whole: BytesMut, piece: Bytes| async move {
                whole.extend_from_slice(&piece);
                Ok(whole)
            };
            let whole = pieces.try_fold(BytesMut::new(), join).await?;
            self.put(&key, whole.freeze()).await
        }
        .boxed()
    }
    fn get(&self, key: &str) -> Answered<'_, Option<Bytes>>;
    /// Bytes `range` of the file, fewer where it ends before.
    fn get_range(&self, key: &str, range: Range<u64>) -> Answered<'_, Option<Bytes>> {
        let whole = self.get(key);
        async move {
            let cut = |whole: Bytes| {
                let most = whole.len();
                let at = |place: u64| usize::try_from(place).map_or(most, |at| at.min(most));
                let (from, to) = (at(range.start), at(range.end));
                whole.slice(from..to.max(from))
            };
            Ok(whole.await?.map(cut))
        }
        .boxed()
    }
    /// No error when it is not there.
    fn delete(&self, key: &str) -> Answered<'_, ()>;
    /// The keys of all files, in no order. None at all where others may keep files too, whose
    /// needs the catalog does not know.
    fn own_keys(&self) -> BoxStream<'_, Result<String, StoreError>> {
        futures_util::stream::empty().boxed()
    }
}
