//! How records and locks are named: pure functions of what a computation is defined by.

use rbuild_graph::{Encoder, OpDigest};

use crate::{ContentKey, Parent, RecordId, ResultId, RootKey};

/// The record of one output of a vertex without inputs, under one of its keys.
pub(crate) fn root_record(key: RootKey, output: u32) -> RecordId {
    let mut to = Encoder::new("rbuild.record.root.v1");
    to.digest(&key.0);
    to.u32(output);
    RecordId(to.finish())
}

/// The key of a vertex without inputs that has no other: its definition.
pub(crate) fn definition_key(op: OpDigest) -> RootKey {
    let mut to = Encoder::new("rbuild.root.op.v1");
    to.digest(&op.0);
    RootKey(to.finish())
}

/// The root record of some selected content, whoever made it.
pub(crate) fn content_record(key: ContentKey) -> RecordId {
    let mut to = Encoder::new("rbuild.record.content.v1");
    to.digest(&key.0);
    RecordId(to.finish())
}

/// The record of one output of an op over `parents`, one for each input.
pub(crate) fn definition_record(op: OpDigest, output: u32, parents: &[Parent]) -> RecordId {
    let mut to = Encoder::new("rbuild.record.definition.v1");
    encode_definition(&mut to, op, parents);
    to.u32(output);
    RecordId(to.finish())
}

/// The record of a step that was executed although it was known (`--no-cache`): users of its new result must not match what was
/// made from the old one, so it is another record than `definition`.
pub(crate) fn renewed_record(definition: RecordId, results: &[Option<ResultId>], created: i64) -> RecordId {
    let mut to = Encoder::new("rbuild.record.renewed.v1");
    to.digest(&definition.0);
    to.i64(created);
    to.list(results, |to, result| to.option(result.as_ref(), |to, ResultId(name)| to.text(name)));
    RecordId(to.finish())
}

/// Name of the lock that is held while an op executes over `parents`.
pub(crate) fn lock_name(op: OpDigest, parents: &[Parent]) -> String {
    let mut to = Encoder::new("rbuild.lock.v1");
    encode_definition(&mut to, op, parents);
    RecordId(to.finish()).to_hex()
}

fn encode_definition(to: &mut Encoder, op: OpDigest, parents: &[Parent]) {
    to.digest(&op.0);
    to.list(parents, |to, Parent { record, selector }| {
        to.digest(&record.0);
        to.option(selector.as_ref(), |to, selector| to.digest(&selector.0));
    });
}
