//! Vertices, edges and the smaller operations.

use rbuild_oci::Platform;

use super::{exec, file, source};
use crate::encode::Purpose;
use crate::{DiffOp, Edge, Encoder, InputIndex, MergeOp, Op, OpDigest, OutputIndex, Vertex, VertexDigest};

impl Vertex {
    /// Identity of this vertex: a pure function of op, platform and inputs. Only texts for messages are left out.
    #[must_use]
    pub fn digest(&self) -> VertexDigest {
        let Vertex { op, inputs, platform } = self;
        let mut to = Encoder::for_purpose("rbuild.vertex.v1", Purpose::Identity);
        to.list(inputs, encode_edge);
        encode_platform(&mut to, platform);
        encode_op(&mut to, op);
        VertexDigest(to.finish())
    }

    /// Digest of the op and platform without the inputs, for cache links.
    ///
    /// Left out is what a result does not depend on (spec G-59, §4.2): the size of `/dev/shm`, proxy variables, addresses of
    /// extra hosts, id and sharing of cache mounts (but whether the id is the default one); and what the link's selector says
    /// already: selectors of mounts, and all but the last component of a copy's sources.
    #[must_use]
    pub fn op_digest(&self) -> OpDigest {
        let Vertex { op, inputs: _, platform } = self;
        let mut to = Encoder::for_purpose("rbuild.op.v1", Purpose::Key);
        encode_platform(&mut to, platform);
        encode_op(&mut to, op);
        OpDigest(to.finish())
    }
}

fn encode_op(to: &mut Encoder, op: &Op) {
    match op {
        Op::Source(source) => {
            to.tag(1);
            source::encode(to, source);
        }
        Op::Exec(exec) => {
            to.tag(2);
            exec::encode(to, exec);
        }
        Op::File(file) => {
            to.tag(3);
            file::encode(to, file);
        }
        Op::Merge(MergeOp { inputs }) => {
            to.tag(4);
            to.list(inputs, encode_input);
        }
        Op::Diff(DiffOp { lower, upper }) => {
            to.tag(5);
            to.option(lower.as_ref(), encode_input);
            to.option(upper.as_ref(), encode_input);
        }
    }
}

fn encode_edge(to: &mut Encoder, edge: &Edge) {
    let Edge { vertex, output } = edge;
    to.digest(&vertex.0);
    encode_output(to, output);
}

pub(super) fn encode_input(to: &mut Encoder, InputIndex(index): &InputIndex) {
    to.u32(*index);
}

pub(super) fn encode_output(to: &mut Encoder, OutputIndex(index): &OutputIndex) {
    to.u32(*index);
}

fn encode_platform(to: &mut Encoder, platform: &Platform) {
    let Platform { architecture, os, os_version, os_features, variant } = platform;
    to.text(os);
    to.text(architecture);
    to.option(variant.as_deref(), Encoder::text);
    to.option(os_version.as_deref(), Encoder::text);
    to.list(os_features, |to, feature| to.text(feature));
}
