//! From one finding or record to the whole story: causes and consequences, as ordered steps that cite their records.
//!
//! Storage comes in through [`Events`]. The same events, findings and version give the same incident, byte for byte. Bounded:
//! what was left out by a bound is said in [`Incident::notes`]. This crate knows no HTTP and no clock.
mod actions; // what a command or a file access means
mod model; // what goes in and comes out
mod steps; // marked events to ordered steps
mod story; // the incident in prose
mod walk; // causes and consequences
mod world; // hosts, processes, sessions

pub use model::{
    Action, Actor, Because, Citation, Edge, Error, EventRow, Events, FindingRef, Incident, Link, Options, Order, ProcessNode,
    Seed, Step, Tactic, Technique, Want,
};
pub use story::story;

use sha2::{Digest, Sha256};

/// Records of a finding that are looked at.
const SEEDS_MAX: usize = 20;
/// Fewer steps than this are no story.
const LEADS_SOMEWHERE: usize = 3;

/// Walks from `seed` through the events around it and tells what happened.
///
/// # Errors
/// [`Error::SeedUnknown`] when no event or finding has that id; [`Error::Storage`] when events cannot be read.
pub fn reconstruct(events: &dyn Events, findings: &[FindingRef], seed: &Seed, options: &Options) -> Result<Incident, Error> {
    let mut records = match seed {
        Seed::Record(record) => vec![*record],
        Seed::Finding(id) => findings
            .iter()
            .find(|finding| finding.id == *id)
            .ok_or_else(|| Error::SeedUnknown { seed: seed.to_string() })?
            .records
            .clone(),
    };
    records.sort_unstable();
    records.truncate(SEEDS_MAX);
    let world = world::World::gather(events, &records, options)?;
    let seeds = world.of_records(&records);
    let Some(first) = seeds.first() else { return Err(Error::SeedUnknown { seed: seed.to_string() }) };
    // A finding may cover records that have nothing to do with each other but the rule: the others count only if the first
    // leads nowhere.
    let mut incident = steps::tell(&world, &walk::Walk::new(&world, options).from(&[*first]), findings, seed);
    if incident.steps.len() < LEADS_SOMEWHERE && seeds.len() > 1 {
        incident = steps::tell(&world, &walk::Walk::new(&world, options).from(&seeds), findings, seed);
    }
    let digest = Sha256::digest(serde_json::to_vec(&(&incident.seed, &incident.steps)).unwrap_or_default());
    incident.id = hex::encode(&digest[..8]);
    Ok(incident)
}
