//! Files that are no longer live, or never became so, leave where files are kept; what should be there is counted.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Weak,
    time::Duration,
};

use crate::{Error, Lake, catalog::Withdrawn, segment::SegmentFile};

/// How long a file that another process took out stays: by then every process knows, and its queries have ended.
const GRACE: Duration = Duration::from_secs(600);

/// Files that left, and may still be read by queries of this process.
pub(crate) type Parting = HashMap<String, Weak<SegmentFile>>;

/// What is where files are kept, against what the catalog lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Live files that are there, as far as that can be told without reading them.
    pub files: usize,
    /// Live files that are missing or of another size.
    pub missing: Vec<String>,
    /// Files that wait for their removal, or are being written.
    pub passing: usize,
    /// Files that nobody names.
    pub orphans: Vec<String>,
}

impl Lake {
    /// Removes files that are no longer live from where files are kept, once nobody needs them; returns how many. With a catalog that
    /// others share, takes over what they have changed.
    ///
    /// # Errors
    /// The catalog or object storage cannot be asked; what is left is removed next time.
    pub fn sweep(&self) -> Result<usize, Error> {
        if self.catalog.is_shared() {
            let _one_at_a_time = self.flushing.lock();
            self.refresh()?;
        }
        let undecided: Vec<String> = std::mem::take(&mut *self.undecided.lock());
        if let Err(error) = self.catalog.withdraw(Withdrawn::Paths(&undecided)) {
            self.undecided.lock().extend(undecided);
            return Err(error.into());
        }
        let free = self.free(GRACE)?;
        let mut gone = Vec::new();
        let removed = free.into_iter().try_for_each(|path| {
            self.files.remove(&path)?;
            gone.push(path);
            Ok(())
        });
        if !gone.is_empty() {
            self.catalog.drop_departed(&gone)?;
            self.state.write().parting.retain(|path, _| !gone.contains(path));
        }
        removed.map(|()| gone.len())
    }

    /// Departed files that nobody reads.
    fn free(&self, grace: Duration) -> Result<Vec<String>, Error> {
        let departed = self.catalog.departed()?;
        let grace = if self.catalog.is_shared() { grace } else { Duration::ZERO };
        let state = self.state.read();
        // One that is still listed here was taken out a moment ago.
        let live: BTreeSet<&str> = state.files.iter().map(|file| file.row.path.as_str()).collect();
        let is_free = |path: &str, age: Duration| match state.parting.get(path) {
            Some(file) => file.strong_count() == 0,
            None => age >= grace && !live.contains(path),
        };
        Ok(departed.into_iter().filter(|file| is_free(&file.path, file.age)).map(|file| file.path).collect())
    }

    /// Compares what is where files are kept with what the catalog lists.
    ///
    /// # Errors
    /// The catalog or object storage cannot be asked.
    pub fn kept(&self) -> Result<Kept, Error> {
        let mut kept = Kept::default();
        let (live, _) = self.catalog.load()?;
        for row in &live {
            if self.files.is_kept(row)? { kept.files += 1 } else { kept.missing.push(row.path.clone()) }
        }
        let departed: BTreeSet<String> = self.catalog.departed()?.into_iter().map(|file| file.path).collect();
        let announced: BTreeSet<String> = self.catalog.announced()?.into_iter().collect();
        let live: BTreeSet<&str> = live.iter().map(|row| row.path.as_str()).collect();
        for name in self.files.list()?.unwrap_or_default() {
            let path = name.strip_suffix(".minutes").map_or(name.clone(), |stem| format!("{stem}.parquet"));
            if departed.contains(&path) || announced.contains(&path) {
                kept.passing += 1;
            } else if !live.contains(path.as_str()) {
                kept.orphans.push(name);
            }
        }
        Ok(kept)
    }
}
