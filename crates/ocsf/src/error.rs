/// A mapping file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not TOML, or not the shape of a mapping file.
    #[error("mapping `{file}` cannot be read: {reason}")]
    Unreadable {
        /// The mapping's file name.
        file: String,
        /// What the TOML reader says.
        reason: String,
    },
    /// A rule in it that cannot be compiled.
    #[error("mapping `{file}`, event {event}: {reason}")]
    Rule {
        /// The mapping's file name.
        file: String,
        /// Which `[[event]]` of the file, from 1.
        event: usize,
        /// What is wrong and what would be right.
        reason: String,
    },
}
