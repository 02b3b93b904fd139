//! The files of the lake as the query engine asks for them: what is on object storage is fetched first.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};

use crate::files::{Files, Held};

/// Files in a folder, each of which may have to be fetched into it.
pub(crate) struct FetchingStore {
    pub(crate) local: Arc<dyn ObjectStore>,
    pub(crate) files: Arc<Files>,
}

impl fmt::Debug for FetchingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for FetchingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, fetched on demand", self.local)
    }
}

impl FetchingStore {
    /// Fetches the file if need be. That waits for the network, so it is done on a thread of its own.
    async fn held(&self, location: &Path) -> Result<Held> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: "lake", source };
        let (files, name) = (self.files.clone(), location.to_string());
        let held = tokio::task::spawn_blocking(move || files.hold(&name)).await.map_err(|error| failed(error.into()))?;
        held.map_err(|error| failed(error.into()))
    }
}

#[async_trait]
impl ObjectStore for FetchingStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let held = self.held(location).await?;
        let head = options.head;
        let result = self.local.get_opts(location, options).await?;
        if head {
            return Ok(result);
        }
        // In memory before the file may leave the folder again.
        let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
        let bytes = result.bytes().await?;
        drop(held);
        let payload = GetResultPayload::Stream(futures::future::ready(Ok(bytes)).into_stream().boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let held = self.held(location).await?;
        let read = self.local.get_ranges(location, ranges).await;
        drop(held);
        read
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.local.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.local.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.local.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.local.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.local.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.local.copy_opts(from, to, options).await
    }
}
