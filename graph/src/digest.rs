//! Digests of operations: BLAKE3 over the canonical encoding.

use std::fmt;

macro_rules! blake3_digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// Lower-case hexadecimal, 64 characters.
            #[must_use]
            pub fn to_hex(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "blake3:{}", self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

blake3_digest! {
    /// Identity of a vertex: its operation, platform and inputs (a Merkle DAG). Names and line numbers are not in it.
    VertexDigest
}
blake3_digest! {
    /// Digest of an operation alone, without its inputs: what a cache link is labelled with.
    OpDigest
}
blake3_digest! {
    /// Digest of a selection of an input: the selector of a cache link.
    SelectionDigest
}
