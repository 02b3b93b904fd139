//! Where the lake keeps its catalog and its files: `[lake]` in the configuration, kept in the data folder so that other commands find it too.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use reeve_lake::{Catalog, Credentials, ObjectSettings, Objects, Options, PostgresCatalog, S3, Server};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, USAGE};

/// Catalog and files of a lake; by default both are in the data folder.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LakePlace {
    /// Address of a PostgreSQL server for the catalog.
    pub(crate) catalog: Option<String>,
    /// File with the password of the role in it.
    pub(crate) catalog_password_file: Option<PathBuf>,
    /// Object storage for the files.
    pub(crate) objects: Option<Bucket>,
}

/// A bucket that speaks S3, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bucket {
    /// Address of the store.
    pub(crate) endpoint: String,
    /// The bucket.
    pub(crate) bucket: String,
    /// What names in it begin with.
    #[serde(default)]
    pub(crate) prefix: String,
    /// Region that requests are signed for.
    #[serde(default = "region")]
    pub(crate) region: String,
    /// Whether the bucket is part of the path.
    #[serde(default = "path_style")]
    pub(crate) path_style: bool,
    /// File with the certificate authorities that are trusted; otherwise the public ones.
    pub(crate) ca_file: Option<PathBuf>,
    /// File with the access key; otherwise it is in the environment.
    pub(crate) credentials_file: Option<PathBuf>,
    /// Bytes of files that are in the data folder too.
    pub(crate) cache_bytes: Option<u64>,
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn path_style() -> bool {
    true
}

impl LakePlace {
    /// With its paths made absolute by `within`.
    pub(crate) fn within(mut self, within: impl Fn(PathBuf) -> PathBuf) -> Self {
        let absolute = |path: PathBuf| {
            let path = within(path);
            std::path::absolute(&path).unwrap_or(path)
        };
        self.catalog_password_file = self.catalog_password_file.map(&absolute);
        if let Some(bucket) = &mut self.objects {
            bucket.credentials_file = bucket.credentials_file.take().map(&absolute);
            bucket.ca_file = bucket.ca_file.take().map(&absolute);
        }
        self
    }

    /// Opens catalog and object storage, where these are elsewhere.
    ///
    /// # Errors
    /// Says which of them cannot be used.
    fn open(&self, options: &mut Options) -> Result<(), Failure> {
        let wrong = |error: String| Failure::new(USAGE, error);
        if let Some(url) = &self.catalog {
            let server = Server { url: url.clone(), password_file: self.catalog_password_file.clone() };
            let catalog: Arc<dyn Catalog> = Arc::new(PostgresCatalog::open(&server).map_err(|error| wrong(error.to_string()))?);
            options.catalog = Some(catalog);
        }
        if let Some(bucket) = &self.objects {
            let store = bucket.open().map_err(|error| wrong(error.to_string()))?;
            let objects: Arc<dyn Objects> = Arc::new(store);
            options.objects = Some(objects);
            options.cache_bytes = bucket.cache_bytes.unwrap_or(options.cache_bytes);
        }
        Ok(())
    }
}

impl Bucket {
    fn open(&self) -> Result<S3, reeve_lake::ObjectsError> {
        let credentials = match &self.credentials_file {
            Some(file) => Some(Credentials::read(file)?),
            None => Credentials::from_environment(|name| std::env::var(name).ok()),
        };
        let settings = ObjectSettings {
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            ca_file: self.ca_file.clone(),
        };
        S3::new(&settings, credentials)
    }

    /// Tries the store out. One that does not answer is no reason to take no events: their records come first.
    fn verify(&self) -> Result<(), Failure> {
        match self.open().and_then(|store| store.verify()) {
            Ok(()) => Ok(()),
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "event files cannot be stored for now; the record is kept, the reading waits");
                Ok(())
            }
            Err(error) => Err(Failure::new(USAGE, error)),
        }
    }
}

/// Lake options for the data folder: as configured, or as noted in it before.
///
/// # Errors
/// Catalog or object storage cannot be used.
pub(crate) fn options(data: &Path, configured: Option<&LakePlace>, mut options: Options) -> Result<Options, Failure> {
    let noted = noted(data)?;
    let configured = configured.filter(|place| **place != LakePlace::default());
    if let Some(bucket) = configured.and_then(|place| place.objects.as_ref()) {
        bucket.verify()?;
    }
    let Some(place) = configured.or(noted.as_ref()) else { return Ok(options) };
    place.open(&mut options)?;
    if noted.as_ref() != Some(place) {
        note(data, place)?;
    }
    Ok(options)
}

fn noted(data: &Path) -> Result<Option<LakePlace>, Failure> {
    let path = data.join(NOTE);
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(USAGE, format!("cannot read `{}`: {error}", path.display()))),
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|error| Failure::new(USAGE, format!("`{}`: {error}", path.display())))
        }
    }
}

fn note(data: &Path, place: &LakePlace) -> Result<(), Failure> {
    let path = data.join(NOTE);
    let text = serde_json::to_vec_pretty(place).map_err(|error| Failure::new(USAGE, error))?;
    std::fs::write(&path, text).map_err(|error| Failure::new(USAGE, format!("cannot write `{}`: {error}", path.display())))
}

const NOTE: &str = "lake.json";
