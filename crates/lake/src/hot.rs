//! Events not yet in files: Arrow batches, queryable at once.

use arrow::{array::RecordBatch, compute::concat_batches, error::ArrowError};

use crate::schema::STORED;

/// Batches in order of arrival. Those below `sealed` belong to a running flush and are left as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hot {
    batches: Vec<RecordBatch>,
    sealed: usize,
    bytes: usize,
    rows: usize,
}

const SMALL: usize = 8192;

impl Hot {
    pub(crate) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a batch. Small neighbours are joined as a binary counter carries, so that each row is copied a few times at
    /// most and a query meets few batches however small the appends are.
    pub(crate) fn push(&mut self, mut batch: RecordBatch) -> Result<(), ArrowError> {
        self.rows += batch.num_rows();
        while self.batches.len() > self.sealed {
            let Some(last) = self.batches.last() else { break };
            if last.num_rows() > 2 * batch.num_rows() || last.num_rows() + batch.num_rows() > SMALL {
                break;
            }
            batch = concat_batches(&STORED, [last, &batch])?;
            self.batches.pop();
        }
        self.batches.push(batch);
        self.bytes = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        Ok(())
    }

    /// Marks all present batches as being flushed and returns them.
    pub(crate) fn seal(&mut self) -> Vec<RecordBatch> {
        self.sealed = self.batches.len();
        self.batches.clone()
    }

    /// Ends a flush: the sealed batches give way to `left`, what the flush did not take.
    pub(crate) fn replace_sealed(&mut self, left: Vec<RecordBatch>) {
        let since = self.batches.split_off(self.sealed.min(self.batches.len()));
        self.batches = left;
        self.batches.extend(since);
        self.unseal();
    }

    /// Ends a flush that did not happen.
    pub(crate) fn unseal(&mut self) {
        self.sealed = 0;
        self.rows = self.batches.iter().map(RecordBatch::num_rows).sum();
        self.bytes = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
    }
}
