//! The canonical encoding that digests are computed over: explicit, versioned, length-prefixed.

use crate::{GraphError, OpDigest, Vertex, VertexDigest};

impl Vertex {
    /// Identity of this vertex. A pure function of op, platform and inputs.
    #[must_use]
    pub fn digest(&self) -> VertexDigest {
        todo!()
    }

    /// Digest of the op and platform without the inputs, for cache links: what is not in the key (spec G-59: shm size,
    /// proxy values, extra hosts' addresses, texts for messages, a Copy source's directory) is left out.
    #[must_use]
    pub fn op_digest(&self) -> OpDigest {
        todo!()
    }

    pub(crate) fn check(&self, _digest: VertexDigest) -> Result<(), GraphError> {
        todo!()
    }
}
