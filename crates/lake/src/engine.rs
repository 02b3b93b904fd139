//! The query engine's settings and bounds, shared by all queries of a lake.

use std::sync::Arc;

use datafusion::{
    datasource::object_store::ObjectStoreUrl,
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::{SessionState, SessionStateBuilder},
    },
    object_store::{ObjectStore, local::LocalFileSystem},
    prelude::{SessionConfig, SessionContext},
};

use crate::{Error, Options, distinct, fetching::FetchingStore, files::Files, functions::sql_functions};

/// Footers and page indexes kept in memory, in bytes.
const FOOTER_CACHE: usize = 64 << 20;

pub(crate) struct Engine {
    runtime: Arc<RuntimeEnv>,
    config: SessionConfig,
    // Functions, rules and settings, made once: building them costs more than a small query.
    prepared: SessionState,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) url: ObjectStoreUrl,
    pub(crate) threads: usize,
}

impl Engine {
    pub(crate) fn new(files: &Arc<Files>, options: &Options) -> Result<Self, Error> {
        let folder = files.folder();
        let spill = folder.join("tmp");
        std::fs::create_dir_all(&spill).map_err(Error::io("create", &spill))?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![spill]))
            .with_max_temp_directory_size(options.spill_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.query_memory)))
            .with_disk_manager_builder(disk)
            .with_metadata_cache_limit(FOOTER_CACHE)
            .build_arc()?;
        // Everything below sees only this store and paths in it.
        let mut store: Arc<dyn ObjectStore> =
            Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(|error| Error::Engine { message: error.to_string() })?);
        if files.objects().is_some() {
            store = Arc::new(FetchingStore { local: store, files: files.clone() });
        }
        let url = ObjectStoreUrl::parse("reeve://lake")?;
        runtime.register_object_store(url.as_ref(), store.clone());
        let mut config = SessionConfig::new().with_target_partitions(options.threads).with_information_schema(false);
        let settings = config.options_mut();
        settings.execution.parquet.pushdown_filters = true;
        settings.execution.parquet.reorder_filters = true;
        let prepared = fresh(&config, &runtime).state();
        Ok(Self { runtime, config, prepared, store, url, threads: options.threads })
    }

    /// A session for plans that name no tables.
    pub(crate) fn session(&self) -> SessionContext {
        SessionContext::new_with_state(self.prepared.clone())
    }

    /// A session with a list of tables of its own, for SQL.
    pub(crate) fn sql_session(&self) -> SessionContext {
        fresh(&self.config, &self.runtime)
    }
}

fn fresh(config: &SessionConfig, runtime: &Arc<RuntimeEnv>) -> SessionContext {
    let state = SessionStateBuilder::new().with_config(config.clone()).with_runtime_env(runtime.clone()).with_default_features();
    let session = SessionContext::new_with_state(state.with_optimizer_rules(distinct::rules()).build());
    sql_functions().into_iter().for_each(|function| session.register_udf(function));
    session
}
