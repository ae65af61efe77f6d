//! Performs look-ups and saves on records: each query intersects what its inputs lead to.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rbuild_graph::{InputIndex, OpDigest, OutputIndex};

use crate::action::{Found, FoundOutput, Match, Query, QueryKeys};
use crate::{Link, Parent, RecordError, RecordId, Records};

/// Answers one query. Blocks for a moment.
pub(crate) fn look_up(records: &impl Records, query: &Query) -> Result<Found, RecordError> {
    let outputs = match &query.keys {
        QueryKeys::Roots(roots) => roots.iter().map(|roots| look_up_roots(records, roots)).collect::<Result<_, _>>()?,
        QueryKeys::Inputs(op, inputs) => {
            query.outputs.iter().map(|&output| look_up_output(records, *op, output, inputs)).collect::<Result<_, _>>()?
        }
    };
    Ok(Found { outputs })
}

/// The links from all `parents` of all inputs to a record of `output`.
pub(crate) fn links(op: OpDigest, output: u32, inputs: &[Vec<Parent>]) -> Vec<Link> {
    let of_input = |(input, parents): (u32, &Vec<Parent>)| -> Vec<Link> {
        parents.iter().map(|parent| link(op, output, input, *parent)).collect()
    };
    (0..).zip(inputs).flat_map(of_input).collect()
}

fn link(op: OpDigest, output: u32, input: u32, parent: Parent) -> Link {
    let Parent { record, selector } = parent;
    Link { parent: record, input: InputIndex(input), output: OutputIndex(output), op, selector }
}

fn look_up_roots(records: &impl Records, roots: &[RecordId]) -> Result<FoundOutput, RecordError> {
    let mut matched = Vec::new();
    for &record in roots {
        let results = records.results(record)?;
        if !results.is_empty() {
            matched.push(Match { record, results, missing: Vec::new() });
        }
    }
    Ok(FoundOutput { matched, unmatched: Vec::new() })
}

fn look_up_output(records: &impl Records, op: OpDigest, output: u32, inputs: &[Vec<Parent>]) -> Result<FoundOutput, RecordError> {
    let reached: Vec<Vec<Reach>> = (0..)
        .zip(inputs)
        .map(|(input, parents)| parents.iter().map(|parent| reach(records, link(op, output, input, *parent))).collect())
        .collect::<Result<_, _>>()?;
    let unmatched = reached.iter().map(|input| input.iter().all(|reach| reach.children.is_empty())).collect();
    let mut matched = Vec::new();
    for record in intersection(&reached) {
        let results = records.results(record)?;
        matched.push(Match { record, results, missing: missing_links(&reached, record) });
    }
    matched.sort_by_key(|found: &Match| Reverse(found.results.first().map(|result| result.created)));
    Ok(FoundOutput { matched, unmatched })
}

/// Where one link leads.
struct Reach {
    link: Link,
    children: Vec<RecordId>,
}

fn reach(records: &impl Records, link: Link) -> Result<Reach, RecordError> {
    let children = records.children(std::slice::from_ref(&link))?;
    Ok(Reach { link, children })
}

fn intersection(reached: &[Vec<Reach>]) -> BTreeSet<RecordId> {
    let mut inputs =
        reached.iter().map(|input| -> BTreeSet<RecordId> { input.iter().flat_map(|reach| &reach.children).copied().collect() });
    let first = inputs.next().unwrap_or_default();
    inputs.fold(first, |common, input| common.intersection(&input).copied().collect())
}

fn missing_links(reached: &[Vec<Reach>], record: RecordId) -> Vec<Link> {
    let missing = reached.iter().flatten().filter(|reach| !reach.children.contains(&record));
    missing.map(|reach| reach.link.clone()).collect()
}
